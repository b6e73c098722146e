"""Gaussian processes: against those of scikit-learn, and on what they must learn."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from search_space.utils.gaussian_process import (
    Kernel,
    Matrix,
    condition,
    find_kernel,
    fit_gaussian_process,
    leave_out,
)


def points(count: int, seed: int) -> tuple[list[Matrix], Matrix]:
    """Numbers of other units, answers of which one counts, and their noisy values."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, 3)) * [1.0, 50.0, 0.01] + [5.0, 0.0, -1.0]
    answers = rng.integers(0, 2, (count, 8)).astype(float)
    values = np.sin(numbers[:, 0]) + 0.5 * answers[:, 1] + 0.05 * rng.normal(size=count)
    return [numbers, answers], values


@pytest.mark.parametrize("seed", range(3))
def test_with_one_group_it_agrees_with_scikit_learn(seed: int) -> None:
    (numbers, _), values = points(40, seed)
    (asked, _), _ = points(15, seed + 100)
    ours = condition(Kernel(lengths=(0.7,), amplitudes=(1.3,), noise=0.1), [numbers], values)
    theirs = GaussianProcessRegressor(
        ConstantKernel(1.3, "fixed") * RBF(0.7, "fixed"), alpha=0.1, normalize_y=True, optimizer=None
    )
    mean, unit = numbers.mean(0), numbers.std(0) * np.sqrt(2 * 3)
    theirs.fit((numbers - mean) / unit, values)
    expected, deviation = theirs.predict((asked - mean) / unit, return_std=True)
    found = ours.predict([asked])
    np.testing.assert_allclose(found[0], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[1], deviation, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.mean([asked]), expected, rtol=1e-9, atol=1e-9)


def test_no_other_settings_near_those_found_are_likelier() -> None:
    groups, values = points(50, 0)
    best = find_kernel(groups, values)

    def posterior(kernel: Kernel) -> float:
        process = condition(kernel, groups, values)
        targets = (values - values.mean()) / values.std()
        likelihood = -0.5 * targets @ process.weights - np.log(np.diag(process.factor)).sum()
        medians = [1.0, 1.0, 0.5, 0.5, 0.25]  # Of lengths, amplitudes, and the noise's variance.
        roots = [1.0, 1.0, 0.5, 0.5, 0.5]
        found = [*kernel.lengths, *kernel.amplitudes, kernel.noise]
        apart = [r * np.log(f / m) for f, m, r in zip(found, medians, roots, strict=True)]
        return float(likelihood - 0.5 * np.square(apart).sum())

    at_best = posterior(best)
    for i in range(5):
        for factor in (0.8, 1.25):
            changed = [*best.lengths, *best.amplitudes, best.noise]
            changed[i] *= factor
            other = Kernel(lengths=tuple(changed[:2]), amplitudes=tuple(changed[2:4]), noise=changed[4])
            assert posterior(other) < at_best


def test_it_learns_which_inputs_count_and_how_sure_it_is() -> None:
    groups, values = points(150, 1)
    asked, truth = points(300, 2)
    mean, deviation = fit_gaussian_process(groups, values).predict(asked)
    assert np.corrcoef(mean, truth)[0, 1] > 0.9
    # The band is that of the noiseless value, and the truth has a noise of 0.05.
    inside = np.abs(mean - truth) < 1.96 * np.hypot(deviation, 0.05)
    assert 0.85 < inside.mean() <= 1.0
    far = [asked[0] + 1000.0, asked[1]]
    assert fit_gaussian_process(groups, values).predict(far)[1].mean() > 2 * deviation.mean()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 12), st.integers(0, 1000), st.sampled_from(["equal", "twice", "constant inputs", "huge"])
)
def test_poor_data_gives_finite_numbers(count: int, seed: int, kind: str) -> None:
    groups, values = points(count, seed)
    if kind == "equal":
        values = np.full(count, 0.3)
    elif kind == "twice":
        groups, values = [np.concatenate([g, g]) for g in groups], np.concatenate([values, values + 1])
    elif kind == "constant inputs":
        groups = [np.ones_like(group) for group in groups]
    else:
        values = values * 1e30
    mean, deviation = fit_gaussian_process(groups, values).predict(points(5, seed + 1)[0])
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()
    assert (deviation >= 0).all()


def test_a_constant_of_any_size_does_not_vary() -> None:
    """Its deviation is the rounding's, and a candidate with another value is not infinitely far."""
    groups, values = points(30, 3)
    constant = np.full((30, 1), 28543383.7)
    with_it = fit_gaussian_process([np.hstack([groups[0], constant]), groups[1]], values)
    asked, _ = points(5, 4)
    other = np.full((5, 1), 28543384.7)
    np.testing.assert_allclose(
        with_it.predict([np.hstack([asked[0], other]), asked[1]])[0],
        fit_gaussian_process(groups, values).predict(asked)[0],
        atol=0.3,
    )


def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    code = (
        "from tests.search_space.utils.test_gaussian_process import points;"
        "from search_space.utils.gaussian_process import fit_gaussian_process;"
        "import hashlib; groups, values = points(200, 0);"
        "mean, deviation = fit_gaussian_process(groups, values).predict(points(50, 1)[0]);"
        "print(hashlib.md5(mean.tobytes() + deviation.tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.parametrize("each", [1, 3])
def test_what_is_left_out_tells_nothing_of_itself(each: int) -> None:
    """Against the same process without all points of a name."""
    groups, values = points(24, 0)
    names = [place // each for place in range(24)]
    process = condition(Kernel(lengths=(0.7, 1.1), amplitudes=(1.0, 0.4), noise=0.2), groups, values)
    found = leave_out(process, names)
    kernel = process.factor @ process.factor.T
    targets = (values - process.center) / process.spread
    for place, name in enumerate(names):
        others = [other for other, of in enumerate(names) if of != name]
        weights = np.linalg.solve(kernel[np.ix_(others, others)], targets[others])
        expected = process.center + process.spread * float(kernel[place, others] @ weights)
        assert found[place] == pytest.approx(expected, abs=1e-9)

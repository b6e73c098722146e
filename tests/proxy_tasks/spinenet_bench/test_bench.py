"""The benchmark of trained detectors: its files, its surrogate and its task, on a table made up by a rule."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from proxy_tasks.spinenet_bench import BenchError, SpineNetBenchTask, read_trainings
from proxy_tasks.spinenet_bench.surrogate import FULL, Surrogate, outputs, read_settings
from proxy_tasks.spinenet_bench.trainings import LENGTHS, TRAININGS
from proxy_tasks.task import Score, TaskFailureError
from search_space import Genotype, published_spec
from tests.proxy_tasks.spinenet_bench.made_up import NOISE, OWN, SPACE, rule, trainings, write_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def surrogate(folder: Path) -> Surrogate:
    return Surrogate(read_trainings(folder / TRAININGS), read_settings(folder / "surrogate.json"))


def others(count: int) -> list[Genotype]:
    """Specs that the table does not have."""
    rng = np.random.default_rng(99)
    return [SPACE.sample(rng) for _ in range(count)]


def evaluate(
    task: SpineNetBenchTask, genotype: Genotype, seed: int = 0, fidelity: float = 1.0
) -> tuple[Score, dict[int, float]]:
    reports: dict[int, float] = {}
    found = task.evaluate(
        SPACE.decode(genotype), fidelity, seed, lambda step, score: reports.update({step: score.reward})
    )
    return found, reports


def test_trainings_are_read_as_they_were_written(folder: Path) -> None:
    found = read_trainings(folder / TRAININGS)
    assert len(found) == len(trainings())
    for ours, read in zip(trainings(), found, strict=True):
        assert (read.key, read.genotype, read.seed, read.group) == (
            ours.key,
            ours.genotype,
            ours.seed,
            ours.group,
        )
        assert read.scores == pytest.approx(ours.scores, rel=1e-6)
        assert read.curve("val") == pytest.approx([ours.scores[f"val_AP_{n}"] for n in LENGTHS], rel=1e-6)


@pytest.mark.parametrize("content", [b"", b"PAR1 and so on", None])
def test_a_file_that_is_no_table_is_refused_with_its_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / TRAININGS
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BenchError, match=r"trainings\.parquet: "):
        read_trainings(path)
    with pytest.raises(BenchError, match=r"trainings\.parquet: "):
        SpineNetBenchTask(folder=tmp_path).check()


def test_reading_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; from proxy_tasks.spinenet_bench import read_trainings; "
        f"print(len(read_trainings({str(folder / TRAININGS)!r})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(trainings())), "False"]


def test_the_surrogate_ranks_specs_that_it_has_not_seen(surrogate: Surrogate) -> None:
    asked = others(60)
    expected = [surrogate.expect(genotype)[FULL] for genotype in asked]
    assert kendalltau(expected, [rule(genotype) for genotype in asked]).statistic > 0.5


def test_deviations_are_as_large_as_those_of_the_table(folder: Path, surrogate: Surrogate) -> None:
    """Shares of the variance are estimated from 15 specs with 4 seeds: within a factor of 1.5."""
    asked = others(1)[0]
    expected = surrogate.expect(asked)
    of_seeds = np.array([surrogate.seed_deviation(expected, "a", seed)[FULL] for seed in range(300)])
    of_specs = np.array([surrogate.own_deviation(expected, f"spec {i}")[FULL] for i in range(300)])
    assert NOISE / 1.5 < of_seeds.std() < NOISE * 1.5
    settings = read_settings(folder / "surrogate.json")
    unexplained = (outputs(trainings()) - np.array(settings.expected))[:, FULL].std()
    total = np.hypot(of_seeds.std(), of_specs.std())
    assert unexplained / 1.4 < total < unexplained * 1.4
    assert total > np.hypot(NOISE, OWN) / 1.5


def test_a_spec_of_the_table_gets_the_scores_of_one_of_its_trainings(folder: Path) -> None:
    task = SpineNetBenchTask(folder=folder)
    repeated = [training for training in trainings() if training.key == trainings()[0].key]
    known = [training.scores["val_AP_560"] for training in repeated]
    found = [evaluate(task, repeated[0].genotype, seed)[0] for seed in range(40)]
    assert {round(score.reward, 6) for score in found} == {round(ap, 6) for ap in known}
    assert [score.metrics["expected_reward"] for score in found] == pytest.approx([np.mean(known)] * 40)
    mean, _ = evaluate(SpineNetBenchTask(folder=folder, noise="mean"), repeated[0].genotype)
    assert mean.reward == pytest.approx(np.mean(known))
    assert mean.metrics["test_AP"] == pytest.approx(np.mean(known) - 0.01)


def test_other_specs_get_scores_that_follow_from_key_and_seed(folder: Path) -> None:
    task, genotype = SpineNetBenchTask(folder=folder), others(1)[0]
    first, reports = evaluate(task, genotype, 3)
    again, _ = evaluate(pickle.loads(pickle.dumps(task)), genotype, 3)
    assert first == again
    assert evaluate(task, genotype, 4)[0].reward != first.reward
    assert list(reports) == [140, 280, 420, 560]
    assert reports[560] == first.reward
    assert reports[280] < reports[420] < reports[560]
    assert first.metrics["seconds"] > 0
    mean, _ = evaluate(SpineNetBenchTask(folder=folder, noise="mean"), genotype)
    assert mean.reward == pytest.approx(first.metrics["expected_reward"])


def test_a_short_training_is_the_beginning_of_a_long_one(folder: Path) -> None:
    task, genotype = SpineNetBenchTask(folder=folder), others(1)[0]
    whole, reports = evaluate(task, genotype, 3)
    half, _ = evaluate(task, genotype, 3, 0.5)
    assert half.reward == reports[280]
    assert half.metrics["seconds"] == pytest.approx(whole.metrics["seconds"] / 2)
    short, _ = evaluate(task, genotype, 3, 0.01)
    assert 0 < short.reward < reports[140]
    with pytest.raises(TaskFailureError, match="fidelity 1, not 2"):
        evaluate(task, genotype, 3, 2.0)


def test_exact_scores_are_of_the_table_alone(folder: Path) -> None:
    task = SpineNetBenchTask(folder=folder, exact=True)
    evaluate(task, trainings()[-1].genotype)
    with pytest.raises(TaskFailureError, match="the table of 70 specs does not have"):
        evaluate(task, others(1)[0])


def test_a_spec_of_another_space_is_invalid(folder: Path) -> None:
    spec: Any = published_spec("r50-fpn")
    with pytest.raises(TaskFailureError, match="spinenet-49: "):
        SpineNetBenchTask(folder=folder).evaluate(spec, 1.0, 0, lambda *_: None)


def test_all_deviations_are_drawn(surrogate: Surrogate) -> None:
    """Each of the nearest forty, whatever the expected AP."""
    for ap in (-1.0, 0.4, 2.0):
        expected = np.full(8, ap)
        drawn = {tuple(surrogate.own_deviation(expected, str(i))) for i in range(1000)}
        assert len(drawn) == 40

"""What a study says of proxies whose worth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from scipy import stats

from nas.analysis import proxy_report
from nas.analysis.proxy_study import run_proxy_study
from nas.analysis.proxy_summary import ProxyTraining, summarize
from nas.analysis.rank_correlation import RESAMPLES, correlate, expected_best
from nas.analysis.result_log import append_result
from nas.analysis.settings import ProxyStudyConfig
from nas.analysis.strata import Feature
from nas.executors.job import JobResult
from nas.executors.local_executor import LocalExecutor
from nas.utils.files import FolderInUseError, locked_folder
from nas.utils.terminal import duration
from proxy_tasks.adapted_task import adapt
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import published_space
from search_space.choices import ChoiceSpace
from tests.nas.analysis.drawn import keep_figures

SPACE = published_space("r35-sp18")
PLAN = ProxyStudyConfig(specs=8, seeds=2, reference=2.0, neighbors=3)


def test_a_perfect_proxy_and_a_worthless_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    perfect = correlate(np.stack([truth, truth], 1), truth)
    assert (perfect.kendall.value, perfect.spearman.value) == pytest.approx((1, 1))
    assert perfect.kendall.low == pytest.approx(1)
    assert perfect.kendall_p < 1e-9
    assert (perfect.seed_deviation, perfect.reliability) == (0, 1)
    assert set(perfect.top.values()) == {0.0}
    noise = rng.normal(size=(40, 2))
    luck = correlate(noise, truth)
    assert luck.kendall.low < 0 < luck.kendall.high
    wanted = stats.bootstrap(
        (noise.mean(1), truth),
        lambda a, b: stats.kendalltau(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (luck.kendall.low, luck.kendall.high) == pytest.approx((wanted.low, wanted.high), abs=0.03)
    assert luck.reliability < 0.5


def test_the_correlation_of_one_seed_is_the_mean_over_all_seeds() -> None:
    reference = np.arange(6.0)
    found = correlate(np.stack([reference, -reference], 1), reference)
    assert found.kendall_one_seed == pytest.approx(0)


def test_deviations_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 3, 4000)
    found = correlate(truth[:, None] + rng.normal(0, 1, (4000, 3)), truth[:4000])
    assert found.seed_deviation == pytest.approx(1, rel=0.05)
    assert found.spec_deviation == pytest.approx(3, rel=0.05)
    assert found.reliability == pytest.approx(0.9, abs=0.01)


def test_the_value_of_the_top_k_by_hand() -> None:
    reference = np.array([1.0, 5.0, 3.0, 4.0])
    found = correlate(np.array([[9.0], [1.0], [8.0], [7.0]]), reference)
    assert found.top == {1: 4.0, 2: 2.0, 3: 1.0}
    for k in (1, 2, 3):
        mean = np.mean([max(some) for some in combinations(reference, k)])
        assert expected_best(reference, k) == pytest.approx(mean)
        assert found.chance[k] == pytest.approx(5 - mean)


def test_equal_proxy_scores_are_worth_what_their_order_is_by_chance() -> None:
    reference = np.array([0.9, 0.1, 0.2, 0.3, 0.4, 0.5])
    flat = correlate(np.zeros((6, 2)), reference)
    assert flat.top == pytest.approx(flat.chance)
    scores = np.array([2.0, 1, 1, 1, 0, 0])
    for order in (slice(None), slice(None, None, -1)):
        values, known = scores[order], reference[order]
        top = correlate(values[:, None], known).top
        for k in (1, 2, 3, 5):
            tops = [some for some in permutations(range(6)) if (np.diff(values[list(some)]) <= 0).all()]
            assert top[k] == pytest.approx(0.9 - np.mean([known[list(some[:k])].max() for some in tops]))


@pytest.mark.parametrize(("specs", "has_interval"), [(4, False), (19, False), (20, True)])
def test_few_specs_in_perfect_order_give_no_interval(specs: int, has_interval: bool) -> None:
    scores = np.arange(float(specs))
    found = correlate(scores[:, None], scores)
    for each in (found.kendall, found.spearman):
        assert each.value == pytest.approx(1)
        assert np.isfinite([each.low, each.high]).all() == has_interval


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return keep_figures(monkeypatch, proxy_report)


def bars(figure: Figure) -> list[float]:
    """Half the lengths of the error bars."""
    drawn = [made for made in figure.axes[0].containers if isinstance(made, ErrorbarContainer)]
    ends = [segment for made in drawn for lines in made.lines[2] for segment in lines.get_segments()]
    return [float(abs(end[1] - begin[1])) / 2 for begin, end in ends]


def test_the_picture_has_all_specs_and_says_what_its_bars_are(tmp_path: Path, drawn: list[Figure]) -> None:
    class Known:
        """Its costs are known of every second spec."""

        def evaluate(self, spec: Any, seed: int) -> float:
            return (int(spec.key(), 16) % 1000 + 100 * (seed % 7)) / 1000

        def costs(self, spec: Any) -> dict[str, float]:
            if int(spec.key(), 16) % 2:
                raise ValueError("no")
            return {"macs": float(int(spec.key(), 16) % 3)}

    run_proxy_study(SPACE, adapt(Known()), LocalExecutor(), PLAN, tmp_path, strata="macs")
    found = json.loads((tmp_path / "judgement.json").read_text())
    (figure,) = drawn
    left = figure.axes[0]
    legend = left.get_legend()
    assert legend is not None
    assert legend.get_texts()[-1].get_text() == "macs unknown"
    assert len(bars(figure)) == PLAN.specs
    assert sorted(bars(figure)) == pytest.approx(sorted(np.std(found["proxy"], axis=1, ddof=1)))
    assert "bars: standard deviation" in left.get_ylabel()


class Constant:
    def evaluate(self, spec: Any) -> float:
        return 0.0


def test_the_title_of_the_picture_has_a_dash_where_there_is_no_value(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    plan = ProxyStudyConfig(specs=3, seeds=1, reference=2.0, neighbors=0)
    run_proxy_study(SPACE, adapt(Constant()), LocalExecutor(), plan, tmp_path)
    left = drawn[0].axes[0]
    assert left.get_title() == "Kendall - (no interval)"
    assert left.get_ylabel().endswith("1 seed")
    assert bars(drawn[0]) == []


def test_smoothness_compares_neighbors_with_random_pairs() -> None:
    proxy = np.array([[0.0], [1.0], [2.0]])
    found = correlate(proxy, proxy[:, 0], [(0.0, 0.1), (1.0, 1.3)])
    assert found.neighbor_step == pytest.approx(0.2 / (4 / 3))


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_pure_noise_is_as_rough_among_neighbors_as_among_random_specs(seeds: int) -> None:
    rng = np.random.default_rng(0)
    proxy, pairs = rng.normal(size=(400, seeds)), [(a, b) for a, b in rng.normal(size=(2000, 2)).tolist()]
    assert correlate(proxy, proxy[:, 0], pairs).neighbor_step == pytest.approx(1, abs=0.06)


class FewSpace(ChoiceSpace):
    """Has six networks."""

    def __init__(self) -> None:
        super().__init__({"a": ["1", "2", "3"], "b": ["1", "2"]})


class Adding:
    def evaluate(self, spec: tuple[str, ...], seed: int) -> float:
        return float(spec[0]) + float(spec[1]) / 10 + seed % 7 / 1000


def test_no_network_is_judged_twice(tmp_path: Path) -> None:
    task: Any = Adding()
    few = ProxyStudyConfig(specs=6, seeds=2, reference=2.0, neighbors=0)
    run_proxy_study(FewSpace(), task, LocalExecutor(), few, tmp_path / "six")
    told = json.loads((tmp_path / "six" / "results.jsonl").read_text().splitlines()[0])
    assert len({tuple(genotype) for genotype in told["genotypes"]}) == 6
    with pytest.raises(ValueError, match=r"specs=7: .* only 6 different networks; give specs=6"):
        run_proxy_study(FewSpace(), task, LocalExecutor(), replace(few, specs=7), tmp_path / "seven")


def test_a_study_that_was_cut_off_continues(tmp_path: Path) -> None:
    class Cut(SyntheticTask):
        calls = 0

        def evaluate(self, *arguments: Any) -> Score:
            Cut.calls += 1
            if Cut.calls == 12:
                raise KeyboardInterrupt
            return super().evaluate(*arguments)

    whole = run_proxy_study(SPACE, SyntheticTask(noise=0.02), LocalExecutor(), PLAN, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_proxy_study(SPACE, Cut(noise=0.02), LocalExecutor(), PLAN, tmp_path / "cut")
    lines = (tmp_path / "cut" / "results.jsonl").read_text()
    (tmp_path / "cut" / "results.jsonl").write_text(lines + '{"training": {"ro')
    Cut.calls = 100
    again = run_proxy_study(SPACE, Cut(noise=0.02), LocalExecutor(), PLAN, tmp_path / "cut")
    assert again == whole
    assert Cut.calls == 100 + 8 * 3 + 3 - 11
    stored = json.loads((tmp_path / "cut" / "judgement.json").read_text())
    assert stored["judgement"]["kendall"]["value"] == whole.kendall.value
    assert "| Kendall |" in (tmp_path / "cut" / "judgement.md").read_text()
    assert (tmp_path / "cut" / "judgement.png").stat().st_size > 10_000


def test_a_study_keeps_the_state_of_a_training_until_its_score_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Training(SyntheticTask):
        """Leaves a state, as a training does."""

        def evaluate(
            self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
        ) -> Score:
            assert checkpoint is not None
            (checkpoint / "training.pt").touch()
            (checkpoint / "own").touch()
            return super().evaluate(spec, fidelity, seed, report, None)

    def count(name: str) -> int:
        return len(list((tmp_path / "trainings").glob(f"*/checkpoint/{name}")))

    def append(path: Path, entry: Any) -> None:
        left.append(count("training.pt"))
        append_result(path, entry)
        if len(left) == 3:  # The process ends before the state of the third one is removed.
            raise KeyboardInterrupt

    left: list[int] = []
    monkeypatch.setattr("nas.analysis.trainings.append_result", append)
    with pytest.raises(KeyboardInterrupt):
        run_proxy_study(SPACE, Training(), LocalExecutor(), PLAN, tmp_path)
    assert (left, count("training.pt")) == ([1, 1, 1], 1)
    run_proxy_study(SPACE, Training(), LocalExecutor(), PLAN, tmp_path)
    assert set(left) == {1}
    assert (count("training.pt"), count("own")) == (0, len(left)), "other files are the task's"


def done_trainings(failing: tuple[ProxyTraining, ...] = ()) -> dict[ProxyTraining, JobResult]:
    """Trainings of four specs, of which the last seeds ended first; spec 1 has a neighbor."""
    proxy = [ProxyTraining(role="proxy", spec=spec, seed=seed) for seed in (1, 0) for spec in (3, 2, 1, 0)]
    reference = [ProxyTraining(role="reference", spec=spec, seed=1000) for spec in range(4)]
    wanted = [*proxy, *reference, ProxyTraining(role="neighbor", spec=1, seed=0)]
    return {
        training: JobResult(
            0,
            0,
            "completed",
            Score(training.spec + training.seed / 8, {"macs": training.spec * 10.0}),
            seconds=3.0 if training.role == "reference" else 1.0 + training.seed,
        )
        if training not in failing
        else JobResult(0, 0, "failed", failure="diverged", message="the loss is nan", seconds=50.0)
        for training in wanted
    }


FOUR = ProxyStudyConfig(specs=4, seeds=2, reference=2.0, neighbors=2)


def test_a_summary_has_the_scores_of_the_specs_by_seed() -> None:
    found = summarize(FOUR, done_trainings(), None)
    assert found.specs == (0, 1, 2, 3)
    assert found.proxy.tolist() == [[0, 0.125], [1, 1.125], [2, 2.125], [3, 3.125]]
    assert found.reference.tolist() == [125, 126, 127, 128]
    assert found.macs == (0, 10, 20, 30)
    assert found.seconds == {"proxy": 1.5, "reference": 3.0}
    assert (found.failed, found.strata, found.unknown) == (0, None, "")
    assert found.correlation == correlate(found.proxy, found.reference, [(1.0, 1.0)])


def test_a_summary_leaves_out_a_spec_that_lacks_a_score() -> None:
    lost = ProxyTraining(role="proxy", spec=1, seed=0)
    feature = Feature(name="depth", values=(None, 4.0, None, None))
    found = summarize(FOUR, done_trainings((lost,)), feature)
    assert (found.specs, found.failed) == ((0, 2, 3), 1)
    assert found.macs == (0, 20, 30)
    assert found.seconds == {"proxy": pytest.approx(11 / 7), "reference": 3.0}
    assert (found.strata, found.unknown) == (None, "depth")
    assert repr(found.correlation) == repr(correlate(found.proxy, found.reference)), "NaN is not equal"


def test_a_summary_of_too_few_specs_names_a_failure() -> None:
    lost = [ProxyTraining(role="reference", spec=spec, seed=1000) for spec in (0, 3)]
    with pytest.raises(
        ValueError, match="only 2 specs have all their scores; first failure: the loss is nan"
    ):
        summarize(FOUR, done_trainings(tuple(lost)), None)


def test_another_plan_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    run_proxy_study(SPACE, SyntheticTask(), LocalExecutor(), PLAN, tmp_path)
    with pytest.raises(ValueError, match="holds another proxy study: plan and genotypes changed"):
        run_proxy_study(SPACE, SyntheticTask(), LocalExecutor(), ProxyStudyConfig(specs=9), tmp_path)


def test_a_fault_of_the_machine_is_tried_again_at_once(tmp_path: Path) -> None:
    class Flaky(SyntheticTask):
        faults = 2

        def evaluate(self, *arguments: Any) -> Score:
            if Flaky.faults:
                Flaky.faults -= 1
                raise TaskFailureError("infrastructure", "the disk is full")
            return super().evaluate(*arguments)

    whole = run_proxy_study(SPACE, SyntheticTask(), LocalExecutor(), PLAN, tmp_path / "whole")
    assert run_proxy_study(SPACE, Flaky(), LocalExecutor(), PLAN, tmp_path / "flaky") == whole
    assert Flaky.faults == 0


def test_no_training_has_the_folder_of_another_whatever_failed_before(tmp_path: Path) -> None:
    class Kept(SyntheticTask):
        """Fails at first where it is told to, and sees who was in its folder before."""

        fails = True

        def evaluate(
            self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
        ) -> Score:
            assert checkpoint is not None
            checkpoint.mkdir(parents=True, exist_ok=True)
            mine = f"{spec.key()} {fidelity} {seed}"
            note = checkpoint / "note"
            assert not note.exists() or note.read_text() == mine
            note.write_text(mine)
            if self.fails and seed == 1:
                raise TaskFailureError("diverged", "the loss is nan")
            return super().evaluate(spec, fidelity, seed, report, None)

    with pytest.raises(ValueError, match="only 0 specs have all their scores"):
        run_proxy_study(SPACE, Kept(), LocalExecutor(), PLAN, tmp_path)
    Kept.fails = False
    run_proxy_study(SPACE, Kept(), LocalExecutor(), PLAN, tmp_path)
    failed = [entry for entry in read_log(tmp_path) if entry["ended"]["failure"]]
    assert {entry["ended"]["failure"] for entry in failed} == {"diverged"}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The trainings that have ended."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()[1:]]


def test_two_at_a_time_in_one_folder_are_refused(tmp_path: Path) -> None:
    with locked_folder(tmp_path), pytest.raises(FolderInUseError):
        run_proxy_study(SPACE, SyntheticTask(), LocalExecutor(), PLAN, tmp_path)


def test_trainings_that_fail_are_counted_and_all_failing_is_said(tmp_path: Path) -> None:
    class Failing:
        def evaluate(self, *_: object) -> None:
            raise TaskFailureError("diverged", "the loss is nan", 3)

    with pytest.raises(ValueError, match=r"only 0 specs have all their scores; .*the loss is nan"):
        run_proxy_study(SPACE, Failing(), LocalExecutor(), PLAN, tmp_path / "a")  # type: ignore[arg-type]
    some = SyntheticTask(failing=0.3)
    run_proxy_study(SPACE, some, LocalExecutor(), ProxyStudyConfig(specs=20, reference=2.0), tmp_path / "b")
    stored = json.loads((tmp_path / "b" / "judgement.json").read_text())
    assert stored["failed"] > 0
    assert 3 <= len(stored["specs"]) < 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"specs": 2}, "specs must be a whole number of at least 3, not 2"),
        ({"fidelity": 3.0}, "fidelity must be below reference, 3.0, not 3.0"),
        ({"fidelity": 0.0}, "fidelity must be a number above 0 and at most 1000, not 0.0"),
        ({"reference": 5000.0}, "reference must be a number above 0 and at most 1000, not 5000.0"),
        ({"neighbors": 25}, "neighbors must be at most the number of specs, 24, not 25"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1, not 0"),
    ],
)
def test_wrong_plans_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProxyStudyConfig(**wrong)  # type: ignore[arg-type]


def test_durations_read_well() -> None:
    assert [duration(s) for s in (20.4, 200, 9000)] == ["20 s", "3.3 min", "2.5 h"]


def test_what_the_trainings_do_not_tell_is_a_dash(tmp_path: Path) -> None:
    class Flat:
        def evaluate(self, spec: object, fidelity: float) -> float:
            return 0.0 if fidelity < 2 else 0.1

    plan = ProxyStudyConfig(specs=3, seeds=1, reference=2.0, neighbors=1)
    run_proxy_study(SPACE, adapt(Flat()), LocalExecutor(), plan, tmp_path)
    page = (tmp_path / "judgement.md").read_text()
    assert "nan" not in page
    assert "| Kendall | - (no interval) |" in page
    assert "(1 seed) and at fidelity 2 (1 seed)" in page
    assert "A dash is a value that these trainings do not tell." in page


def test_losses_of_tiny_scores_are_told_with_their_digits(tmp_path: Path) -> None:
    class Tiny:
        def evaluate(self, spec: Any, fidelity: float) -> float:
            return 1e-9 * (int(spec.key(), 16) % 1000) * (1 if fidelity > 1 else -1)

    plan = ProxyStudyConfig(specs=4, seeds=2, reference=2.0, neighbors=0)
    found = run_proxy_study(SPACE, adapt(Tiny()), LocalExecutor(), plan, tmp_path)
    assert 0 < found.top[1] < 1e-5
    assert f"| 1 | {found.top[1]:.4g} | {found.chance[1]:.4g} |" in (tmp_path / "judgement.md").read_text()


def test_all_specs_are_no_top() -> None:
    scores = np.arange(3.0)
    assert set(correlate(scores[:, None], scores).top) == {1, 2}

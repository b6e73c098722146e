from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proxy_tasks.adapted_task import adapt, task_fault
from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.plain_scores import as_score
from proxy_tasks.task import Report, Score, TaskFailureError
from proxy_tasks.testing import TaskContract, check_task
from proxy_tasks.training_task import TrainingTask
from search_space import Scale, published_spec, spec_cost
from search_space.utils.numbers import unwrap


@dataclass
class SmallTask:
    """A user's task: the fewer parameters the better. Evaluate is all it has."""

    scale: Scale = field(default_factory=Scale)

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        params = spec_cost(spec, self.scale).params
        score = Score(-params / 1e6, {"params": float(params)})
        report(1, score)
        return score


class DriftingTask(SmallTask):
    """Gives another score every time."""

    calls = 0

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        DriftingTask.calls += 1
        return Score(float(DriftingTask.calls))


class RewardedByLoss(TrainingTask):
    """After a few steps AP is 0 whatever was trained; the loss tells."""

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        score = super().evaluate(spec, fidelity, seed, report, checkpoint)
        return Score(-score.metrics["loss"], score.metrics)


def test_our_task_keeps_the_contract(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    root = make_shapes(tmp_path / "set", ShapesConfig(train=12, val=4, size=64))
    jitter = Augmentation(low=0.8, high=1.2)
    plan = TrainConfig(
        steps=4, batch=4, image_size=64, learning_rate=0.01, augmentation=jitter, checkpoint_every=1
    )
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
    data = DetectionData(str(root), str(tmp_path / "cache"))
    task = RewardedByLoss(scale=scale, train=plan, data=data, evaluations=2, device="cpu")
    (tmp_path / "state").mkdir()
    spec = published_spec("spinenet-49")
    check_task(task, spec, tmp_path / "state")
    rewards = {task.evaluate(spec, 1.0, seed, lambda *_: None, None).reward for seed in (1, 2)}
    assert len(rewards) == 2, "otherwise nothing was compared"


def test_a_users_task_keeps_the_contract_and_a_broken_one_does_not(tmp_path: Path) -> None:
    check_task(SmallTask(), published_spec("spinenet-49"), tmp_path)
    with pytest.raises(AssertionError, match="same seed gives the same score"):
        check_task(DriftingTask(), published_spec("spinenet-49"), tmp_path)


@dataclass
class Plain:
    """Takes the spec alone and gives a number."""

    weight: float = 1.0

    def evaluate(self, spec: Any) -> float:
        return self.weight * len(spec.blocks)


class Named:
    def evaluate(self, spec: Any, seed: int, report: Report) -> Score:
        report(1, Score(0.5))
        return Score(float(seed))


def test_a_task_may_take_less_and_give_a_plain_number(tmp_path: Path) -> None:
    spec = published_spec("spinenet-49")
    check_task(Plain(2.0), spec, tmp_path)
    assert adapt(Plain(2.0)).evaluate(spec, 1.0, 0, lambda *_: None, None) == Score(30.0)
    told: list[int] = []
    assert adapt(Named()).evaluate(spec, 1.0, 7, lambda step, _: told.append(step), None) == Score(7.0)
    assert told == [1]


class Able:
    """Has every ability, and remembers what was called."""

    digest = "table 3"
    metric_names = ("AP", "seconds")

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def evaluate(self, spec: Any, checkpoint: Path | None) -> float:
        return 1.0

    def setup(self, run_dir: Path) -> None:
        self.calls.append(run_dir)

    def open(self) -> None:
        self.calls.append("open")

    def check(self) -> None:
        self.calls.append("check")

    def check_spec(self, spec: Any) -> None:
        raise ValueError(f"no {spec}")

    def costs(self, network: Any) -> dict[str, float]:
        return {"params": 3.0}

    def fit(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None, **more: Any
    ) -> Score:
        return Score(1.0)

    def model(self, spec: Any, categories: Any) -> None:
        pass

    def categories(self) -> tuple[str, ...]:
        return ()


class Namesake:
    """Has methods with the names of abilities, for purposes of its own."""

    digest = 3
    metric_names = "AP"

    def evaluate(self, spec: Any, *, seed: int) -> float:
        return float(seed)

    def setup(self, network: Any) -> None:
        raise AssertionError("called")

    def open(self, file: str) -> None:
        raise AssertionError("called")

    def check(self, spec: Any) -> None:
        raise AssertionError("called")

    def check_spec(self) -> None:
        raise AssertionError("called")

    def costs(self) -> float:
        raise AssertionError("called")

    def scores(self, spec: Any) -> float:
        raise AssertionError("called")

    def fit(self, spec: Any) -> float:
        raise AssertionError("called")


class Kind:
    def __init__(self, *_: object) -> None:
        raise AssertionError("called")


class Lenient(Namesake):
    """Its methods can be called as ours are, and still are others."""

    setup: Any = Kind
    open: Any = Kind

    @property
    def digest(self) -> str:  # type: ignore[override]
        raise RuntimeError("not trained yet")

    def check(self, spec: Any = None) -> None:
        raise AssertionError("called")

    def scores(self, *specs: Any) -> float:
        raise AssertionError("called")

    def fit(  # type: ignore[override]
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        raise AssertionError("called")


class Setup(Namesake):
    def setup(self, **more: Any) -> None:  # type: ignore[override]
        raise AssertionError("called")

    def open(self, mode: str = "r") -> None:
        raise AssertionError("called")


def refuse() -> None:
    raise AssertionError("called")


class MakesUp:
    """Gives any attribute on demand."""

    def evaluate(self, spec: Any, *, seed: int) -> float:
        return float(seed)

    def __getattr__(self, name: str) -> Any:
        return refuse


def test_abilities_are_found_once(tmp_path: Path) -> None:
    able = Able()
    task = adapt(able)
    assert adapt(task) is task
    task.setup(tmp_path)
    task.open()
    assert task.check is not None
    task.check()
    assert able.calls == [tmp_path, "open", "check"]
    assert task.costs is not None
    assert task.costs(None) == {"params": 3.0}
    assert (task.digest, task.takes_checkpoint, task.trainable) == ("table 3", True, able)
    assert task.metric_names == ("AP", "seconds")
    assert task.check_spec is not None
    with pytest.raises(ValueError, match="no cells"):
        task.check_spec("cells")


class Halved:
    """Evaluates finalists on the other half of its data."""

    def __init__(self, half: str = "first") -> None:
        self.half, self.calls = half, list[str]()

    def setup(self, run_dir: Path) -> None:
        self.calls.append("setup")

    def open(self) -> None:
        self.calls.append("open")

    def check(self) -> None:
        if self.half == "broken":
            raise ValueError("the second half is empty")

    def evaluate(self, spec: Any) -> float:
        return 1.0 if self.half == "first" else 2.0

    def for_finalists(self) -> Any:
        return {"first": Halved("second"), "with a broken one": Halved("broken"), "alone": None}[self.half]


def test_finalists_have_a_task_of_their_own_which_is_prepared_too(tmp_path: Path) -> None:
    task = adapt(Halved())
    other = task.finalist_task
    assert other is not None
    assert other.finalist_task is None  # It would give no end of them.
    assert task.needs_setup
    task.setup(tmp_path)
    task.open()
    assert task.task.calls == other.task.calls == ["setup", "open"]
    scores = [part.evaluate(None, 1.0, 0, lambda *_: None, None).reward for part in (task, other)]
    assert scores == [1.0, 2.0]
    assert adapt(Halved("alone")).finalist_task is None
    check = adapt(Halved("with a broken one")).check
    assert check is not None
    with pytest.raises(ValueError, match="the second half is empty"):
        check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: 5, "for_finalists: int has no method evaluate"),
        (lambda: 1 // 0, "for_finalists: integer division or modulo by zero"),
    ],
)
def test_what_is_no_task_for_finalists_is_refused(given: Any, message: str) -> None:
    class Odd(Halved):
        def for_finalists(self) -> Any:
            return given()

    with pytest.raises(ValueError, match=message):
        adapt(Odd())


@pytest.mark.parametrize("namesake", [Namesake(), Lenient(), Setup(), MakesUp()])
def test_a_method_that_only_has_the_name_of_an_ability_is_not_called(namesake: Any, tmp_path: Path) -> None:
    task = adapt(namesake)
    task.setup(tmp_path)
    task.open()
    found = (task.check, task.costs, task.digest, task.scores, task.trainable, task.finalist_task)
    assert found == (None,) * 6
    assert (task.check_spec, task.metric_names) == (None, None)
    assert not task.takes_checkpoint
    assert task.evaluate(None, 1.0, 7, lambda *_: None, None) == Score(7.0)


def test_an_adapted_task_can_be_sent_to_workers() -> None:
    from ray import cloudpickle

    copy = cloudpickle.loads(cloudpickle.dumps(adapt(Able())))
    copy.open()
    assert copy.task.calls == ["open"]
    assert copy.open_worker.__self__ is copy.task


def test_what_is_no_score_is_refused() -> None:
    class Words:
        def evaluate(self, spec: Any) -> str:
            return "good"

    with pytest.raises(TaskFailureError, match="must return a number or a Score, not a str"):
        adapt(Words()).evaluate(None, 1.0, 0, lambda *_: None, None)
    with pytest.raises(ValueError, match="NoEvaluate has no method evaluate"):
        adapt(NoEvaluate())


class TestSmallTask(TaskContract):
    """The contract as a class to inherit."""

    def make_task(self) -> Any:
        return SmallTask()

    def make_spec(self) -> Any:
        return published_spec("spinenet-49")


def test_the_class_finds_what_the_function_finds(tmp_path: Path) -> None:
    class Broken(TestSmallTask):
        def make_task(self) -> Any:
            return DriftingTask()

    Broken().test_it_is_a_task()
    with pytest.raises(AssertionError, match="same seed gives the same score"):
        Broken().test_the_same_seed_gives_the_same_score(tmp_path)


class NoEvaluate:
    pass


class AsksForMore:
    def evaluate(self, spec: Any, epochs: int) -> float:
        return 0.0


class NoSpec:
    def evaluate(self) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (NoEvaluate(), "NoEvaluate has no method evaluate"),
        (AsksForMore(), "AsksForMore.evaluate asks for 'epochs'; after the spec it may name fidelity, seed"),
        (NoSpec(), "NoSpec.evaluate takes no spec"),
        (Plain(), ""),
        (SmallTask(), ""),
    ],
)
def test_what_is_no_task_is_told(task: Any, told: str) -> None:
    assert task_fault(task).startswith(told)
    assert bool(task_fault(task)) == bool(told)


class Swapped:
    """Has five arguments, in an order of its own."""

    def evaluate(
        self, spec: Any, seed: int, fidelity: float, report: Report, checkpoint: Path | None
    ) -> float:
        return 10 * seed + fidelity


class Extended:
    def evaluate(self, spec: Any, fidelity: float, seed: int, epochs: int = 3, rate: float = 0.1) -> float:
        return fidelity + seed + epochs + rate


def test_arguments_go_by_name_whatever_their_order() -> None:
    assert adapt(Swapped()).evaluate(None, 0.25, 7, lambda *_: None, None) == Score(70.25)
    assert adapt(Extended()).evaluate(None, 0.25, 7, lambda *_: None, None) == Score(10.25 + 0.1)


def test_a_failure_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(TaskFailureError("diverged", "the loss is nan", 3)))
    assert (error.kind, error.message, error.step, str(error)) == (
        *("diverged", "the loss is nan", 3),
        "the loss is nan (step 3)",
    )


@pytest.mark.parametrize(
    "number",
    [
        3,
        3.0,
        Fraction(3),
        Decimal(3),
        np.float32(3),
        np.int64(3),
        np.array(3.0),
        np.array([3]),
        np.array([[3.0]]),
        torch.tensor(3),
        torch.tensor([3.0], requires_grad=True),
        torch.tensor([[3.0]], dtype=torch.bfloat16),
    ],
    ids=repr,
)
def test_whatever_is_one_number_is_a_number_everywhere(number: Any, recwarn: pytest.WarningsRecorder) -> None:
    class Gives:
        def evaluate(self, spec: Any, report: Any) -> Any:
            report(number, number)
            report(number, Score(number, {"AP": number}))
            return number if spec is None else Score(number, {"AP": number})

        def costs(self, spec: Any) -> dict[str, Any]:
            return {"macs": number}

        def scores(self) -> list[Any]:
            return [number, Score(number)]

    task, reports = adapt(Gives()), list[tuple[int, Score]]()
    assert task.costs is not None
    assert task.scores is not None
    scores = [task.evaluate(spec, 1.0, 0, lambda *a: reports.append(a), None) for spec in (None, "spec")]
    assert scores == [Score(3.0), Score(3.0, {"AP": 3.0})]
    assert reports[:2] == [(3, Score(3.0)), (3, Score(3.0, {"AP": 3.0}))]
    assert type(reports[0][0]) is int
    assert task.costs(None) == {"macs": 3.0}
    assert list(task.scores()) == [Score(3.0), Score(3.0)]
    plain = [scores[0].reward, scores[1].metrics["AP"], reports[0][1].reward, task.costs(None)["macs"]]
    assert {type(value) for value in plain} == {float}
    assert not recwarn.list


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("0.5", "a str ('0.5')"),
        (True, "a bool (True)"),
        (1 + 2j, "a complex ((1+2j))"),
        (None, "a NoneType"),
        ([0.5], "a list"),
        ({"reward": 0.5}, "a dict"),
        (np.array([1.0, 2.0]), "a ndarray of shape (2,)"),
        (torch.zeros(2, 3), "a Tensor of shape (2, 3)"),
        (torch.tensor(True), "a Tensor"),
        (np.complex128(1), "a complex128"),
        (10**400, "a whole number that is too large"),
        (Score, "a type"),
    ],
    ids=repr,
)
def test_what_is_no_number_is_told_wherever_it_comes_from(number: Any, told: str) -> None:
    class Gives:
        def evaluate(self, spec: Any, report: Any) -> Any:
            if spec == "report":
                report(1, number)
            return {"score": Score(number), "metric": Score(1.0, {"AP": number})}.get(spec, number)

    def message(spec: str) -> str:
        with pytest.raises(TaskFailureError) as caught:
            adapt(Gives()).evaluate(spec, 1.0, 0, lambda *_: None, None)
        return str(caught.value)

    assert message("return").startswith(f"Gives.evaluate must return a number or a Score, not {told}")
    assert message("report").startswith(f"report takes a step and a number or a Score, not {told}")
    assert message("score").startswith(f"the reward of a Score is no number, but {told}")
    if number is not None and not isinstance(unwrap(number), bool):
        assert message("metric").startswith("the metric 'AP' is no number, but a")


def test_a_metric_may_be_missing_and_a_truth_value() -> None:
    found = as_score(Score(1.0, {"AP": None, "loss": math.inf, "ok": np.bool_(True)}), "")  # type: ignore[dict-item]
    assert math.isnan(found.metrics["AP"])
    assert (found.metrics["loss"], found.metrics["ok"]) == (math.inf, 1.0)
    with pytest.raises(TaskFailureError, match="metrics of a Score must be numbers by name, not a list"):
        as_score(Score(1.0, [1.0]), "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("costs", "told"),
    [(3.0, "Costs.costs must give numbers by name, not a float"), ({"macs": "many"}, "'macs' is no number")],
)
def test_costs_that_are_none_are_told(costs: Any, told: str) -> None:
    class Costs(Plain):
        def costs(self, spec: Any) -> Any:
            return costs

    task = adapt(Costs())
    assert task.costs is not None
    with pytest.raises(ValueError, match=told):
        task.costs(None)


class BadReport(Named):
    def evaluate(self, spec: Any, seed: int, report: Report) -> Score:
        report(1, Score(float("nan")))
        return Score(1.0)


class Remembers:
    def __init__(self) -> None:
        self.first: int | None = None

    def evaluate(self, spec: Any, seed: int) -> float:
        self.last, self.first = self.first, seed
        return float(self.last or 0)


class Text:
    def evaluate(self, spec: Any) -> Score:
        return Score(1.0, {"AP": "high"})  # type: ignore[dict-item]


@pytest.mark.parametrize("broken", [BadReport(), Remembers(), Text()])
def test_the_contract_finds_what_would_fail_in_a_search(broken: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="broken promise"):
        check_task(broken, published_spec("spinenet-49"), tmp_path)


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_reward_too_large_for_a_float_is_told(digits: int) -> None:
    with pytest.raises(TaskFailureError, match="not a whole number that is too large for a float"):
        as_score(10**digits, "evaluate must return")


def test_a_failure_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be one of .*, not a str \('too shallow'\)"):
        TaskFailureError("too shallow", "invalid")  # type: ignore[arg-type]


def test_an_async_evaluate_is_told(recwarn: pytest.WarningsRecorder) -> None:
    class Async:
        async def evaluate(self, spec: Any) -> float:
            return 1.0

    with pytest.raises(TaskFailureError, match="a coroutine; it must not be async"):
        adapt(Async()).evaluate(None, 1.0, 0, lambda *_: None, None)
    assert not recwarn


def test_names_of_metrics_may_be_a_list() -> None:
    class Listed:
        metric_names = ("a",)

        def evaluate(self, spec: Any) -> Score:
            return Score(1.0, {"b": 1.0})

    listed = Listed()
    listed.metric_names = ["a", "b"]  # type: ignore[assignment]
    assert adapt(listed).metric_names == ("a", "b")


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"digest": lambda self: "abc"}, "digest is a text or None, not a method"),
        ({"digest": b"abc"}, "digest is a text or None, not a bytes"),
        ({"metric_names": "lat"}, "metric_names is a tuple of texts or None, not a str"),
        ({"metric_names": ("a",)}, "metric_names has every metric of a score, but not b"),
    ],
)
def test_the_contract_finds_attributes_that_do_nothing(
    members: dict[str, Any], told: str, tmp_path: Path
) -> None:
    evaluate = {"evaluate": lambda self, spec: Score(1.0, {"b": 1.0})}
    with pytest.raises(AssertionError, match=told):
        check_task(type("Mine", (), {**evaluate, **members})(), "spec", tmp_path)

"""Configurations: completed from signatures, changed by overrides, refused with the key, and built."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nas.config import (
    LAYOUT,
    ConfigError,
    build,
    build_controller,
    build_space,
    build_task,
    compose,
    config_text,
    load_task,
    merge_overrides,
    read_config,
)
from nas.search.build import build_setup

QUICK = ["task=synthetic", "executor=in_process", "controller=random"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a file of the user's own, in which the user is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "mine_for_config.py").write_text(
        "from dataclasses import dataclass, field\n"
        "from pathlib import Path\n\n\n"
        "@dataclass\nclass Inner:\n    depth: int = 3\n    rate: float = 0.5\n\n\n"
        "@dataclass\nclass Task:\n"
        "    inner: Inner = field(default_factory=lambda: Inner(depth=7))\n"
        "    file: Path = Path('table.csv')\n    words: tuple = (1, 2)\n    maybe: Inner | None = None\n\n"
        "    def evaluate(self, spec):\n        return 1.0\n\n\n"
        "class Loose:\n    def __init__(self, needed, **more):\n"
        "        self.needed, self.more = needed, more\n"
        "    def evaluate(self, spec):\n        return 1.0\n"
    )
    yield tmp_path
    sys.modules.pop("mine_for_config", None)


def test_defaults_are_filled_in_at_any_depth(own: Path) -> None:
    config = compose("search", [*QUICK, "task._target_=mine_for_config.Task"])
    assert OmegaConf.to_container(config.task) == {
        "_target_": "mine_for_config.Task",
        "inner": {"_target_": "mine_for_config.Inner", "depth": 7, "rate": 0.5},
        "file": str(own / "table.csv"),
        "words": [1, 2],
        "maybe": None,
    }
    assert (config.trials, config.search.retries, config.layout) == (14, 2, LAYOUT)
    assert {"seed", "fidelity", "wall_time", "target", "objective", "scheduler"}.isdisjoint(config.search)


def test_a_key_of_a_default_changes_that_default_and_becomes_an_object(own: Path) -> None:
    words = ["inner.rate=0.1", "maybe.depth=1", "file=other/table.csv"]
    config = compose(
        "search", [*QUICK, "task._target_=mine_for_config.Task", *(f"task.{word}" for word in words)]
    )
    task = build_task(config.task).task
    assert (task.inner.depth, task.inner.rate, task.maybe.depth, task.maybe.rate) == (7, 0.1, 1, 0.5)
    assert task.file == own / "other" / "table.csv"


def test_a_needed_value_and_further_names(own: Path) -> None:
    words = [*QUICK, "task._target_=mine_for_config.Loose", "task.color=red"]
    with pytest.raises(ConfigError, match=r"^task\.needed: needs a value; give task\.needed=\.\.\.$"):
        build_task(compose("search", words).task)
    task = build_task(compose("search", [*words, "task.needed=1"]).task).task
    assert (task.needed, task.more) == (1, {"color": "red"})


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("trails=3", "trails: no such key; did you mean trials?"),
        ("search.finalist=3", "search.finalist: no such key; did you mean finalists?"),
        ("search.seed=3", "search.seed: no such key"),
        ("task.noize=3", "task.noize: no such key; did you mean noise?"),
        ("+task.noize=3", "task.noize: no such key"),
        ("+other=3", "other: no such key"),
        ("task.noise.deep=3", "task.noise.deep: task.noise is 0.0 and holds no settings"),
        ("objective.limit.macs=1", "objective.limit: no such key; did you mean limits?"),
        ("zero_cost=5", "zero_cost must be a mapping of settings, not 5"),
        ("~trials", "~trials: a key cannot be removed"),
        ("trials", "'trials' is not a setting KEY=VALUE"),
        ("task._target_=absent.Task", "task: absent.Task: there is no absent.py"),
        ("trials=0", "trials must be a whole number of at least 1, not 0"),
        ("trials=many", "trials must be a whole number of at least 1, not 'many'"),
        ("search.retries=1.5", "search.retries must be a whole number of at least 0, not 1.5"),
        ("task.noise=loud", "task.noise must be a number of at least 0, not 'loud'"),
        ("zero_cost.keep=0", "zero_cost.keep must be a number above 0 and at most 1, not 0"),
        ("tracker=paper", "tracker must be mlflow, wandb or null"),
        ("objective.maximize=AP", "objective.maximize must be a list"),
        ("observers.mine=3", "observers.mine: int has no method on_event"),
        ("seed=${trails}", "'trails' not found"),
    ],
)
def test_what_is_wrong_is_told_with_its_full_key(word: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build_setup(compose("search", [*QUICK, word]))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "warns"),
    [
        (["controller=optuna", "trials=2000"], False),
        (["controller=optuna", "trials=2001"], True),
        (["controller=optuna", "controller.sampler=random", "trials=2001"], False),
        (["trials=2001"], False),
    ],
)
def test_a_sampler_that_slows_down_is_told_of_in_long_searches(words: list[str], warns: bool) -> None:
    notes = build_setup(compose("search", [*QUICK, *words])).notes
    assert any("controller.sampler=tpe takes longer" in note for note in notes) == warns


def test_a_sampler_that_slows_down_is_told_of_by_any_of_its_names() -> None:
    words = ["controller=optuna", "controller.sampler=TPESampler", "trials=2001"]
    notes = build_setup(compose("search", [*QUICK, *words])).notes
    assert any("controller.sampler=TPESampler takes longer" in note for note in notes)


def test_mappings_of_names_stay_open() -> None:
    words = ["cost_limits.macs=1e8", "objective.limits.AP=3", "space=choices", "space.choices.a=[x,y]"]
    config = compose("search", [*QUICK, *words])
    assert dict(config.cost_limits) == {"macs": 1e8}
    assert dict(config.objective.limits) == {"AP": 3}
    assert config.space.choices.a == ["x", "y"]


def test_a_preset_of_a_head_is_chosen_with_a_dot() -> None:
    config = compose("task/cpu", ["task.head=mask-rcnn-small", "task.head.anchor_base=4"])
    assert config.head._target_ == "search_space.MaskRCNNHead"
    assert config.head.anchor_base == 4
    assert "anchors" not in config.head


def test_a_plug_in_keeps_what_follows_other_keys_if_it_takes_it(own: Path) -> None:
    (own / "mine_for_config.py").write_text(
        "class Seeded:\n    def __init__(self, space, seed, width=3):\n        self.seed = seed\n"
        "    def ask(self): ...\n    def tell(self, proposal, reward): ...\n"
    )
    config = compose("search", ["task=synthetic", "controller._target_=mine_for_config.Seeded", "seed=9"])
    assert config.controller == {
        "_target_": "mine_for_config.Seeded",
        "_partial_": True,
        "seed": 9,
        "width": 3,
    }
    controller = build_controller(config.controller, build_space(config.space))
    assert controller.seed == 9  # type: ignore[attr-defined]


def test_values_that_follow_others_still_do_in_a_run_folder(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config_text(compose("search", ["task=synthetic", "executor=virtual"])))
    config = merge_overrides(read_config(path), ["workers=7"])
    assert build(config.executor, "executor").workers == 7
    with pytest.raises(ConfigError, match="task=cpu: a preset cannot be chosen anew"):
        merge_overrides(read_config(path), ["task=cpu"])
    with pytest.raises(ConfigError, match=r"search\.finalist: no such key"):
        merge_overrides(read_config(path), ["search.finalist=2"])


def test_a_folder_of_an_older_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for text, layout in (("trials: 3\n", "1"), ("layout: 7\ntrials: 3\n", "7")):
        path.write_text(text)
        with pytest.raises(
            ConfigError, match=f"its layout is {layout}, and this version reads layout {LAYOUT}"
        ):
            read_config(path)


def test_hydra_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from nas import config_folder

    before = (list(sys.argv), list(sys.path))
    compose("search", QUICK)
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        compose("search", QUICK)
        with pytest.raises(ConfigError):
            compose("search", ["trails=1"])
        assert GlobalHydra.instance().hydra is mine
    assert (sys.argv, sys.path) == before


def test_configurations_of_ones_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [search, _self_]\ntrials: 77\n")
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "loud.yaml").write_text("_target_: proxy_tasks.SyntheticTask\nnoise: 3.0\n")
    config = compose("mine", ["task=loud", "controller=random"], tmp_path)
    assert (config.trials, config.task.noise, config.workers) == (77, 3.0, "auto")


def test_load_task_gives_the_task_itself() -> None:
    assert load_task("synthetic", "noise=0.5").noise == 0.5
    with pytest.raises(ConfigError, match=r"unknown task 'synthetik'.*did you mean synthetic"):
        load_task("synthetik")

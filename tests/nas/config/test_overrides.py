"""Words of a command line: what is meant by them, what is wrong with them, and no other error."""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest

from nas import config_folder
from nas.config import ConfigError, build_root, check_sweep, compose
from nas.config.overrides import sort_overrides
from nas.config.presets import is_group, list_presets
from nas.search.build import build_setup
from nas.search.settings import SearchSettings
from nas.training.settings import TrainSettings

QUICK = ["task=synthetic", "executor=in_process", "controller=random"]


def fault(*words: str) -> str:
    with pytest.raises(ConfigError) as raised:
        build_setup(compose("search", words))
    message = str(raised.value)
    assert "\n" not in message
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (
            "controller=evoltion",
            "no such preset; did you mean controller=evolution? known are evolution, local",
        ),
        ("space=spinenet49", "did you mean space=spinenet-49?"),
        ("task.head=retinanett", "no such preset; did you mean task.head=retinanet?"),
        ("pruner=true", "pruner=true: no such preset; known are asha, median, none"),
        ("executor=ray,virtual", "executor=ray,virtual: several presets are tried one after the other by"),
        ("controler=ppo", "controler: no such key; did you mean controller?"),
        ("finalists=3", "finalists: no such key; did you mean search.finalists?"),
        ("noise=3", "noise: no such key; did you mean task.noise?"),
        ("+task.noize=3", "task.noize: no such key; did you mean noise?"),
        ("++serch.retries=3", "serch: no such key; did you mean search?"),
        ("~controler", "controler: no such key; did you mean controller?"),
        ("~search.finalist", "search.finalist: no such key; did you mean finalists?"),
        ("~search.finalists", "~search.finalists: a key cannot be removed"),
        ("trials = 5", "'trials ' is no key"),
        ("=5", "'' is no key"),
        ("my settings", "'my settings' is not a setting KEY=VALUE, nor a file of settings"),
        ("tests", "to use the images of this folder, write task.data.root=tests"),
        ("task.noise=1,2", "several values are tried one after the other by --multirun"),
        (
            "trials=1,2",
            "trials=1,2: several values are tried one after the other by --multirun; give a whole",
        ),
        ('trials="3', 'trials="3: this cannot be read as a value; give a whole number of at least 1'),
        ("trials=3)", "trials=3): this cannot be read as a value; give a whole number of at least 1"),
        ("search.cache=(", "search.cache=(: this cannot be read as a value; give true or false"),
        ('run_dir="x', 'run_dir="x: this cannot be read as a value; as a text it is written \'run_dir="x"\''),
        ("objective.maximize=AP,AR", "a list is written 'objective.maximize=[AP,AR]'"),
        ("task.noise=a(b", "task.noise=a(b: "),
        ("hydra.verbose=true", "hydra: no such key"),
        ("run_dir=[a]", "run_dir must be a text or null, not ['a']"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(word: str, told: str) -> None:
    assert told in fault(*QUICK, word)


def test_spaces_around_the_equals_sign_are_told() -> None:
    assert "write a setting without spaces: trials=VALUE" in fault(*QUICK, "trials", "=", "5")


def test_a_setting_in_two_words_is_told() -> None:
    assert "'trials' is not a setting KEY=VALUE; write trials=5" in fault(*QUICK, "trials", "5")


def test_a_key_that_lost_its_beginning_is_found_at_any_depth() -> None:
    assert "did you mean task.train.steps?" in fault("train.steps=10")
    assert "did you mean task.train.steps?" in fault("task.steps=10")
    assert "did you mean task.data.shapes.train?" in fault("shapes.train=10")


NEEDED = ("space", "task", "controller", "executor")
REMOVALS = [
    (form.format(key), key in NEEDED)
    for key in (*NEEDED, "pruner", "prior", "scheduler", "experiment")
    for form in ("~{}", "{}=null", "{}=")
]


@pytest.mark.parametrize(("word", "needed"), REMOVALS)
def test_a_group_is_taken_away_or_needs_a_value(word: str, needed: bool) -> None:
    key = word.strip("~").partition("=")[0]
    if needed:
        assert fault(*QUICK, word).startswith(f"{key}: needs a value; known are ")
    else:
        setup = build_setup(compose("search", [*QUICK, "pruner=none", word]))
        assert setup.trials == 14


def test_the_later_of_two_words_for_a_group_counts() -> None:
    assert compose("search", [*QUICK, "~pruner", "pruner=asha"]).pruner._target_.endswith("HalvingPruner")
    assert not compose("search", [*QUICK, "pruner=asha", "~pruner"]).pruner
    assert compose("search", [*QUICK, "+pruner=median"]).pruner.n_startup_trials == 8
    assert "pruner: has settings but names no class" in fault(*QUICK, "pruner.n_startup_trials=3")
    assert "choose one first" in fault(*QUICK, "~pruner", "pruner.n_startup_trials=3")


@pytest.mark.parametrize("key", [name for name in SearchSettings.__dataclass_fields__ if name not in NEEDED])
def test_every_key_of_the_root_takes_null_or_says_what_it_needs(key: str) -> None:
    for word in (f"{key}=null", f"~{key}"):
        try:
            build_setup(compose("search", [*QUICK, word]))
        except ConfigError as error:
            assert str(error).lstrip("~").startswith(key)
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("1e3", "1e3"),
        ("true", "true"),
        ("2026", "2026"),
        ("0x10", "0x10"),
        ("Müller", "Müller"),
        ("fotos (1)", "fotos (1)"),
        ("a,b", "a,b"),
        ("seed=3", "seed=3"),
        ("日本", "日本"),
        ("a b", "a b"),
        ("'a b'", "a b"),
        ('"1e3"', "1e3"),
        ("runs/x[1]", "runs/x[1]"),
        ("a#b&c!", "a#b&c!"),
    ],
)
def test_a_text_is_what_was_typed(typed: str, meant: str) -> None:
    config = compose("search", [*QUICK, f"run_dir={typed}"])
    assert build_root(config, SearchSettings).run_dir == meant
    assert compose("compare", [f"out={typed}"]).out == meant
    weights = build_root(compose("train", ["task=synthetic", f"weights={typed}"]), TrainSettings).weights
    assert weights == Path(meant).absolute()


@pytest.mark.parametrize("value", ["Müller", "a (b)", "x=y", "a, b", 'say "hi" ü', "back\\slash ü", "it's ü"])
def test_the_quotes_that_a_message_shows_work_in_a_shell(value: str) -> None:
    told = fault("space=choices", *QUICK, f"space.choices.a={value}")
    shown = told.split("as a text it is written ")[1]
    (word,) = shlex.split(shown)
    assert compose("search", ["space=choices", *QUICK, word]).space.choices.a == value


@pytest.mark.parametrize("value", ["Müller", "a (b)", "x=y"])
def test_a_sweep_tells_which_texts_need_quotes(value: str) -> None:
    with pytest.raises(ConfigError, match="as a text it is written") as raised:
        check_sweep(["seed=1,2", f"run_dir={value}"])
    (word,) = shlex.split(str(raised.value).split("as a text it is written ")[1])
    check_sweep(["seed=1,2", word])


@pytest.mark.parametrize(
    "words",
    [
        ["executor.address:=" + "[" * 5000],
        ["pruner==" + "[" * 900, "executor.address:=${.}"],
        ["hydra.verbose=" + "(" * 800],
        ["task.plan.steps" + "(" * 700],
        ["seed=" + "9" * 6000],
        ["seed=1e" + "9" * 400],
        ["space=" + "9" * 6000],
        ["~space=" + "a" * 5000],
        ["controller.population=" + "a" * 200_000],
        ["fidelity" + "a" * 5000],
        ["fidelity" + "a" * 5000 + "=1"],
        ["rules._target_+=" + "a" * 5000],
        ["task._target_=" + "a" * 5000],
        ["task._target_=" + ".".join("a" * 2000)],
        ["task._target_=&a [*a]"],
        ["task._target_=..x"],
        ["task._target_=[a]"],
        ["executor._target_=1"],
        ["defaults=[" + "{a:" * 29 + "1" + "}" * 29 + "]"],
        ["tracker=1", "hydra.job.name:=[["],
        ["+=cpu"],
        ["objective=0"],
        ["fidelity=@x", "task.noise:=range(1,10)"],
        ["seed=${seed}"],
        ["seed=${.}"],
        ["seed=${oc.env:ABSENT_VARIABLE}"],
        ["seed=${a:${b:${c:"],
        ["seed=range(1,10)"],
        ["seed=int(a)"],
        ["seed=glob(*)"],
        ["space@other=r0-sp53"],
        ["@=1"],
        ["a..b=1"],
        [".=1"],
        ["/etc=hosts"],
        ["task/../controller=ppo"],
        ["config=&a [*a]", "+x=" + "a" * 5000],
        ["r(\x0e\ufffd=\ufffd\x03"],
        ["run_dir=${run_dir}${run_dir}"],
        ["objective.limits={a: {b: c}}"],
        ["observers={a: 1}"],
        ["observers.a._target_=collections.OrderedDict"],
        ["search={x: 1}"],
        ["task={}"],
        ["~~trials=3", "~+trials"],
    ],
    ids=lambda words: words[0][:25].encode("ascii", "replace").decode(),
)
def test_whatever_a_word_is_the_answer_is_one_line(words: list[str]) -> None:
    assert len(fault(*QUICK, *words)) < 1500


def test_mutated_words_raise_nothing_but_the_documented_error() -> None:
    """Hydra's parser raises more than it documents."""
    rng = random.Random(0)
    words = [
        "trials=5",
        "task.noise=0.5",
        "~pruner",
        "+seed=3",
        "objective.maximize=[reward]",
        "run_dir='a b'",
    ]
    signs = [
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        "=",
        ",",
        ":",
        "'",
        '"',
        "$",
        "${",
        "~",
        "+",
        "\\",
        "ü",
        "\x00",
        " ",
        "9",
    ]
    for _ in range(300):
        word = rng.choice(words)
        for _ in range(rng.randint(1, 4)):
            at = rng.randint(0, len(word))
            word = word[:at] + rng.choice(signs) * rng.choice([1, 1, 2, 40]) + word[at + rng.randint(0, 2) :]
        try:
            sort_overrides([word])
        except ConfigError as error:
            assert "\n" not in str(error), word


def test_groups_are_the_folders_of_presets_and_nothing_else() -> None:
    assert is_group("task")
    assert is_group("task.head")
    assert not any(map(is_group, ("head", "trials", "", "/", "..", "task.data", "/etc", "a" * 9999)))
    assert set(list_presets("pruner")) == {"asha", "median", "none"}


EXPERIMENTS = sorted(path.stem for path in (config_folder() / "experiment").glob("*.yaml"))
GROUPS = {
    "executor": ("in_process", "ray", "virtual"),
    "controller": ("random", "nsga2"),
    "task": ("synthetic",),
}
OTHERS = [(group, name) for group, names in GROUPS.items() for name in names]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_takes_another_part_of_any_kind(experiment: str) -> None:
    """The keys that an experiment gives a part must not stay when the part is another one."""
    others = OTHERS if experiment.startswith("spinenet49") else [("executor", "in_process")]
    big = not experiment.endswith("_mini")
    config = compose("search", [f"experiment={experiment}", "task.data.root=x"])
    assert (config.executor.get("gpus") == 1) is big
    for group, name in others:
        root = [] if group == "task" else ["task.data.root=x"]
        config = compose("search", [f"experiment={experiment}", f"{group}={name}", *root])
        settings = build_root(config, SearchSettings)
        assert settings.trials == (64 if not big else config.trials)

"""Tables of trials from the journal alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from controllers import RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.reporting import trial_table
from nas.reporting.html_report import write_report
from nas.reporting.trial_table import TableError, _distributions, _frozen_trial, trial_rows, write_trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from proxy_tasks.adapted_task import adapt
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Score
from search_space import published_space
from tests.nas.journal.test_history import DECISIONS, Recorder, replayed

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SPACE = published_space("r35-sp18")

HARMFUL = """
from pathlib import Path
Path("harm").touch()
"""


def test_reading_a_run_folder_runs_nothing_that_its_configuration_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    run = tmp_path / "run"
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 12, run)
    (tmp_path / "harmful.py").write_text(HARMFUL)
    (run / "config.yaml").write_text("space:\n  _target_: harmful.Space\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_report(run)
    for name in ("trials.csv", "trials.json", "trials.parquet", "trials.db"):
        assert write_trials(run, tmp_path / name).is_file()
    assert not (tmp_path / "harm").exists()
    study = optuna.load_study(study_name="run", storage=f"sqlite:///{tmp_path / 'trials.db'}")
    assert set(study.trials[0].params) == {decision.name for decision in SPACE.decisions}
    labels = [
        decision.labels[answer] for decision, answer in zip(SPACE.decisions, study_answers(run), strict=True)
    ]
    assert list(study.trials[0].params.values()) == labels


def study_answers(run: Path) -> list[int]:
    answers: list[int] = trial_rows(run)[0]["genotype"]
    return answers


def test_a_study_lists_those_options_of_a_large_decision_that_were_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna writes all of them down for every trial, and a journal may name a million."""
    import optuna

    monkeypatch.setattr(trial_table, "MAX_OPTIONS", 50)
    run = tmp_path / "run"
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 6, run)
    write_trials(run, tmp_path / "trials.db")
    trials = optuna.load_study(study_name="run", storage=f"sqlite:///{tmp_path / 'trials.db'}").trials
    genotypes = [row["genotype"] for row in trial_rows(run)]
    large = 0
    for place, decision in enumerate(SPACE.decisions):
        listed = trials[0].distributions[decision.name].choices  # type: ignore[attr-defined]
        if len(decision.labels) > 50:
            large += 1
            assert set(listed) == {decision.labels[genotype[place]] for genotype in genotypes}
        else:
            assert set(listed) == set(decision.labels)
    assert large


def test_trials_of_a_study_know_their_numbers_in_the_search(tmp_path: Path) -> None:
    """Finalists are left out, and Optuna leaves no gaps."""
    import optuna

    run, config = tmp_path / "run", SearchConfig(finalists=2)
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 8, run, config=config)
    run_search(
        SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 12, run, config=config, resume=True
    )
    write_trials(run, tmp_path / "trials.db")
    trials = optuna.load_study(study_name="run", storage=f"sqlite:///{tmp_path / 'trials.db'}").trials
    numbers = [trial.user_attrs["trial"] for trial in trials]
    assert numbers == [row["trial"] for row in trial_rows(run) if row["finalist_of"] is None]
    assert numbers != list(range(12))


def frozen(status: str, finished: bool = False) -> list[FrozenTrial]:
    """A trial that reports and ends in that way, and one that shares its score, as Optuna keeps them.

    Args:
        status: how the trial ends.
        finished: whether the search has ended then.
    """
    record = Recorder()
    record.session(0, decisions=DECISIONS)
    record.ask(0, 0, key="same")
    record.at(1, "reported", 0, step=5, reward=0.25, metrics={})
    record.end(2, 0, status)
    record.ask(3, 1, key="same")
    record.end(4, 1, "cached", source=0)
    if finished:
        record.at(5, "finished", reason="budget")
    history = replayed(record)
    return [_frozen_trial(row, history, 1, _distributions(history)) for row in history.rows]


def test_a_paused_trial_of_a_study_is_still_running() -> None:
    from optuna.trial import TrialState

    assert frozen("paused")[0].state == TrialState.RUNNING


def test_a_paused_trial_of_a_finished_search_runs_no_more() -> None:
    """Else a dashboard would show it as running for ever."""
    from optuna.trial import TrialState

    paused, shared = frozen("paused", finished=True)
    assert (paused.state, paused.values) == (TrialState.PRUNED, [0.5])
    assert paused.datetime_complete is not None
    assert shared.state == TrialState.PRUNED


def test_a_score_shared_with_a_pruned_trial_is_that_of_a_pruned_one() -> None:
    from optuna.trial import TrialState

    assert [trial.state for trial in frozen("pruned")] == [TrialState.PRUNED] * 2


def test_a_trial_of_a_study_has_its_reports() -> None:
    assert frozen("completed")[0].intermediate_values == {5: 0.25}


def test_a_name_that_is_no_text_is_written_everywhere(tmp_path: Path) -> None:
    class Odd:
        def evaluate(self, spec: object) -> Score:
            return Score(0.5, {"a\udc80": 1.0})

    run_search(SPACE, RandomSearch(SPACE, 0), adapt(Odd()), LocalExecutor(), 2, tmp_path / "run")
    for name in ("trials.csv", "trials.json", "trials.parquet", "trials.db"):
        assert write_trials(tmp_path / "run", tmp_path / name).is_file()


def test_columns_are_the_same_in_every_format(tmp_path: Path) -> None:
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 3, tmp_path)
    rows = json.loads(write_trials(tmp_path, tmp_path / "trials.json").read_text())
    header = write_trials(tmp_path, tmp_path / "trials.csv").read_text().splitlines()[0]
    assert header.split(",") == list(rows[0])
    assert rows[0]["status"] == "completed"
    assert rows[0]["finalist_of"] is None


def row_of(record: Recorder) -> list[dict[str, Any]]:
    return [trial_table._table_row(row) for row in replayed(record).rows]


def test_tables_of_different_searches_have_equal_types(tmp_path: Path) -> None:
    from pyarrow import dataset

    failed = Recorder()
    failed.session(0)
    failed.ask(0, 0, seed=2**64 - 1)
    failed.end(1, 0, "failed", reward=None, metrics={})
    scored = Recorder()
    scored.session(0)
    scored.ask(0, 0)
    scored.end(1, 0, reward=1, metrics={"params": 2**60})
    scored.ask(2, 1, key="key 0", finalist_of=0)
    write = trial_table.TABLE_WRITERS[".parquet"]
    for name, rows in (("a", row_of(failed)), ("b", row_of(scored)), ("none", [])):
        write(rows, tmp_path / f"{name}.parquet")
    names = ["trial", "finalist_of", "source", "reward", "worker", "seed"]
    found = dataset.dataset([tmp_path / "a.parquet", tmp_path / "b.parquet"]).to_table(columns=names)
    assert found["finalist_of"].to_pylist() == [None, None, 0]
    assert found["reward"].to_pylist() == [None, 1.0, None]
    assert found["seed"].to_pylist() == [2**64 - 1, 0, 1]
    schemas = [dataset.dataset(tmp_path / f"{name}.parquet").schema for name in ("a", "none")]
    assert schemas[0] == schemas[1]
    assert str(dataset.dataset(tmp_path / "b.parquet").schema.field("params").type) == "double"


def test_a_table_without_a_trial_has_its_columns(tmp_path: Path) -> None:
    trial_table.TABLE_WRITERS[".csv"]([], tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text() == ",".join(trial_table.COLUMNS) + "\n"


def test_metrics_that_are_called_like_a_column_are_kept(tmp_path: Path) -> None:
    class Timed:
        def evaluate(self, spec: Any) -> Score:
            return Score(0.5, {"seconds": 123.0, "key": 5.0, "reports": 7.0, "AP": 0.5})

    run_search(SPACE, RandomSearch(SPACE, 0), adapt(Timed()), LocalExecutor(), 2, tmp_path)
    row = json.loads(write_trials(tmp_path, tmp_path / "trials.json").read_text())[0]
    found = [row[f"{name} (metric)"] for name in ("seconds", "key", "reports")]
    assert (found, row["AP"], row["reports"]) == ([123.0, 5.0, 7.0], 0.5, {})
    assert row["seconds"] < 100
    assert len(row["key"]) == 32


def test_another_ending_is_refused_and_the_known_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"\.csv, \.json, \.parquet, \.db, \.log"):
        write_trials(tmp_path, tmp_path / "trials.xls")

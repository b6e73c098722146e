"""The folders of a job that two workers try."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from nas.executors.job import CHECKPOINT, LOG, Decision, Job, JobResult, _prepare_checkpoint
from nas.executors.on_ray.second_copy import (
    FOLDER,
    MOST_TRIES,
    SecondCopies,
    Twice,
    copy_job,
    drop_copy,
    keep_copy,
    saved_steps,
)
from proxy_tasks.engine.progress import Progress, write_progress


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "3" / CHECKPOINT).mkdir(parents=True)
    (tmp_path / "3" / CHECKPOINT / "state").write_text("first")
    (tmp_path / "3" / LOG).write_text("of the first\n")
    return Job(3, 1, "spec", 0.5, 7, str(tmp_path / "3"))


def write_as_the_copy(job: Job, saved: int = 0) -> None:
    assert job.folder is not None
    (Path(job.folder) / CHECKPOINT).mkdir(parents=True)
    (Path(job.folder) / CHECKPOINT / "state").write_text("second")
    (Path(job.folder) / LOG).write_text("of the second\n")
    tell_saved(job, saved)


def tell_saved(job: Job, saved: int) -> None:
    """Says how many steps the checkpoint in a job's folder has; 0 leaves it untold."""
    assert job.folder is not None
    if saved:
        write_progress(Path(job.folder) / CHECKPOINT, Progress(step=saved, steps=10_000, saved=saved))


def test_the_copy_is_the_same_job_in_a_folder_of_its_own(job: Job) -> None:
    copied = copy_job(job)
    assert copied is not None
    assert copied.folder == f"{job.folder}/{FOLDER}"
    assert copied.resume_folder == job.folder, "it begins with the checkpoint that is there"
    same = ("trial", "attempt", "spec", "fidelity", "seed")
    assert [getattr(copied, name) for name in same] == [getattr(job, name) for name in same]


def test_files_of_the_copy_that_won_take_the_place_of_the_others(job: Job) -> None:
    copied = copy_job(job)
    assert copied is not None
    assert job.folder is not None
    write_as_the_copy(copied)
    keep_copy(job.folder)
    assert (Path(job.folder) / CHECKPOINT / "state").read_text() == "second"
    log = (Path(job.folder) / LOG).read_text()
    assert log.startswith("of the first\n")
    assert log.endswith("of the second\n")
    assert not (Path(job.folder) / FOLDER).exists()


def test_the_first_ones_files_are_moved_and_not_waited_for(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process may write a last time, and a network disk keeps the names of open files."""
    copied = copy_job(job)
    assert copied is not None
    write_as_the_copy(copied)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    keep_copy(job.folder)
    assert job.folder is not None
    assert (Path(job.folder) / CHECKPOINT / "state").read_text() == "second"


def test_a_copy_does_not_begin_with_files_that_are_being_written(job: Job) -> None:
    assert job.folder is not None
    (Path(job.folder) / CHECKPOINT / ".123-0123456789abcdef.pt").write_text("half")
    (Path(job.folder) / CHECKPOINT / ".hidden").write_text("whole")
    copied = copy_job(job)
    assert copied is not None
    assert sorted(path.name for path in _prepare_checkpoint(replace(copied, attempt=0)).iterdir()) == [
        ".hidden",
        "state",
    ]


def test_a_copy_that_lost_leaves_nothing(job: Job) -> None:
    copied = copy_job(job)
    assert copied is not None
    assert job.folder is not None
    write_as_the_copy(copied)
    drop_copy(job.folder)
    assert (Path(job.folder) / CHECKPOINT / "state").read_text() == "first"
    assert not (Path(job.folder) / FOLDER).exists()


def test_what_an_earlier_copy_left_is_not_gone_on_from(job: Job) -> None:
    copied = copy_job(job)
    assert copied is not None
    write_as_the_copy(copied)
    assert copy_job(job) == copied
    assert copied.folder is not None
    assert not Path(copied.folder).exists()


def test_a_job_that_resumes_another_is_copied_once_it_has_begun(tmp_path: Path) -> None:
    job = Job(4, 0, "spec", 1.0, 0, str(tmp_path / "4"), str(tmp_path / "3"))
    assert copy_job(job) is None, "the copy would begin from nothing"
    (tmp_path / "4" / CHECKPOINT).mkdir(parents=True)
    copied = copy_job(job)
    assert copied is not None
    assert copied.resume_folder == job.folder


def test_of_two_failures_that_of_a_machine_counts() -> None:
    job = Job(4, 0, "spec", 1.0, 0)
    lost, memory, error = (
        JobResult(4, 0, "failed", failure=kind) for kind in ("infrastructure", "out of memory", "error")
    )
    for first, second, counts in (
        (memory, lost, lost),
        (lost, memory, lost),
        (memory, error, memory),
        (lost, replace(lost, message="second"), replace(lost, message="second")),
    ):
        twice = Twice(first=job, second=job, tries=1)
        twice.failed = twice.outcome(first)
        assert twice.outcome(second) == counts


def test_without_folders_there_is_nothing_to_copy() -> None:
    job = Job(4, 0, "spec", 1.0, 0)
    assert copy_job(job) == job
    keep_copy(job.folder)
    drop_copy(job.folder)


def test_of_two_workers_with_a_trial_the_search_hears_each_report_once() -> None:
    copies, job, heard = SecondCopies(), Job(4, 0, "spec", 1.0, 0), list[int]()

    def decide(step: int, decision: Decision = Decision.CONTINUE) -> Decision:
        def ask() -> Decision:
            heard.append(step)
            return decision

        return copies.decide(job.trial, step, ask)

    assert decide(10) is Decision.CONTINUE
    assert decide(10) is Decision.CONTINUE, "one worker may report a step again, such as after a retry"
    assert copies.begin(job) is not None
    assert [decide(10), decide(5)] == [Decision.CONTINUE] * 2
    assert decide(20, Decision.STOP) is Decision.STOP
    assert [decide(20), decide(30)] == [Decision.STOP] * 2, "what was decided holds for the other worker"
    assert decide(15) is Decision.CONTINUE, "the other one has not come so far"
    assert heard == [10, 10, 20]
    copies.end(job, JobResult(4, 0, "pruned"))
    assert decide(10) is Decision.CONTINUE
    assert heard == [10, 10, 20, 10]


def test_a_trial_is_tried_by_few_other_workers_one_at_a_time() -> None:
    copies, job = SecondCopies(), Job(4, 0, "spec", 1.0, 0)
    for _ in range(MOST_TRIES):
        assert copies.may_begin(4)
        second = copies.begin(job)
        assert second is not None
        assert not copies.may_begin(4), "another worker has it"
        copies.pass_over(second, JobResult(4, 0, "failed", failure="error"))
    assert not copies.may_begin(4)
    twice = copies.of(4)
    assert twice is not None
    assert (twice.second, twice.tries) == (None, MOST_TRIES)
    assert copies.may_begin(5)


@pytest.mark.parametrize(
    ("status", "by_copy", "kept"),
    [
        ("completed", True, "second"),
        ("completed", False, "first"),
        ("pruned", True, "second"),
        ("failed", True, "first"),
    ],
)
def test_the_files_of_the_worker_whose_end_counts_are_kept(
    job: Job, status: Literal["completed", "pruned", "failed"], by_copy: bool, kept: str
) -> None:
    copies = SecondCopies()
    second = copies.begin(job)
    assert second is not None
    assert job.folder is not None
    write_as_the_copy(second)
    copies.end(second if by_copy else job, JobResult(3, 1, status))
    assert (Path(job.folder) / CHECKPOINT / "state").read_text() == kept
    assert not (Path(job.folder) / FOLDER).exists()
    assert copies.of(3) is None


def test_a_copy_that_is_passed_over_leaves_nothing(job: Job) -> None:
    copies = SecondCopies()
    second = copies.begin(job)
    assert second is not None
    assert job.folder is not None
    write_as_the_copy(second)
    copies.pass_over(second, JobResult(3, 1, "failed", failure="error"))
    assert (Path(job.folder) / CHECKPOINT / "state").read_text() == "first"
    assert not (Path(job.folder) / FOLDER).exists()


def test_copies_that_run_at_the_end_of_a_search_leave_nothing(job: Job) -> None:
    copies = SecondCopies()
    second = copies.begin(job)
    assert second is not None
    assert job.folder is not None
    write_as_the_copy(second)
    copies.close()
    assert not (Path(job.folder) / FOLDER).exists()


LATER = pytest.mark.parametrize(
    ("first_saved", "second_saved", "kept"),
    [(100, 5000, "second"), (0, 5000, "second"), (100, 100, "first"), (200, 100, "first"), (0, 0, "first")],
)


@LATER
@pytest.mark.parametrize("ends_last", ["first", "second"])
def test_of_two_workers_that_have_failed_the_later_checkpoint_is_gone_on_from(
    job: Job, first_saved: int, second_saved: int, kept: str, ends_last: str
) -> None:
    copies, lost = SecondCopies(), JobResult(3, 1, "failed", failure="infrastructure")
    second = copies.begin(job)
    assert second is not None
    assert job.folder is not None
    tell_saved(job, first_saved)
    write_as_the_copy(second, second_saved)
    if ends_last == "second":
        copies.pass_over(job, lost)
    copies.end(second if ends_last == "second" else job, lost)
    assert (Path(job.folder) / CHECKPOINT / "state").read_text() == kept
    assert saved_steps(job.folder) == max(first_saved, second_saved)
    assert not (Path(job.folder) / FOLDER).exists()


@LATER
def test_a_search_that_is_interrupted_keeps_the_later_of_two_checkpoints(
    job: Job, first_saved: int, second_saved: int, kept: str
) -> None:
    copies = SecondCopies()
    second = copies.begin(job)
    assert second is not None
    assert job.folder is not None
    tell_saved(job, first_saved)
    write_as_the_copy(second, second_saved)
    copies.close()
    assert (Path(job.folder) / CHECKPOINT / "state").read_text() == kept
    assert not (Path(job.folder) / FOLDER).exists()


def test_files_that_cannot_be_moved_end_no_search(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copies = SecondCopies()
    second = copies.begin(job)
    assert second is not None
    write_as_the_copy(second, 5000)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    copies.close()
    assert "trial 3: the files of its second worker are lost" in caplog.text
    assert "Read-only file system" in caplog.text

"""The journal on a disk that several machines use: no shared memory, and readers that disturb nobody."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nas.journal.errors import JournalError
from nas.journal.reading import read_events
from nas.journal.store import open_journal
from nas.utils.disks import is_on_network
from nas.utils.run_files import JOURNAL_FILE

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /home rw shared:5 - nfs4 server:/home rw,vers=4.2
31 30 0:27 / /home/local rw - xfs /dev/vdb rw
32 22 0:28 / /mnt/two\040words rw master:3 - fuse.sshfs host: rw
33 22 0:29 / /scratch rw shared:7 - lustre 10.0.0.1@tcp:/fs rw
34 22 0:30 / /again rw - nfs server:/a rw
35 22 0:31 / /again rw - tmpfs tmpfs rw
36 22 0:32 / /mnt/fuse rw - fuse.ntfs-3g /dev/sda1 rw
37 22 0:33 / /mnt/cloud rw - fuse.blobfuse2 blobfuse2 rw
38 22 0:34 / /mnt/guest rw - vboxsf share rw
""".lstrip()

WRITER = """
import sys, time
from nas.journal import store
store.is_on_network = lambda _: True
journal = store.open_journal(sys.argv[1], create=True)
print("ready", flush=True)
number = 0
while True:
    journal.write("note", None, {"number": number, "text": "x" * (number % 7000)})
    number += 1
    time.sleep(0.02)  # A search writes less often than that.
"""


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/var/run", False),
        ("/home", True),
        ("/home/me/runs", True),
        ("/homeless", False),
        ("/home/local/runs", False),
        ("/mnt/two words/runs", True),
        ("/scratch/runs", True),
        ("/again/runs", False),
        ("/mnt/fuse/runs", False),
        ("/mnt/cloud/runs", True),
        ("/mnt/guest/runs", True),
    ],
)
def test_the_type_of_a_disk_is_that_of_the_innermost_mount(path: str, shared: bool, tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert is_on_network(Path(path), tmp_path / "mounts") is shared


def test_without_a_table_of_mounts_a_disk_counts_as_local(tmp_path: Path) -> None:
    assert not is_on_network(tmp_path, tmp_path / "absent")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on(monkeypatch, "network")


def put_on(monkeypatch: pytest.MonkeyPatch, disk: str) -> None:
    """Lets journals lie on a network disk, or on a local one."""
    for module in ("reading", "store"):
        monkeypatch.setattr(f"nas.journal.{module}.is_on_network", lambda _: disk == "network")


def test_a_journal_there_has_no_log_that_processes_share_by_memory(network: None, tmp_path: Path) -> None:
    journal = open_journal(tmp_path, create=True)
    journal.write("session", None, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [JOURNAL_FILE, "lock"]
    assert [event.kind for event in read_events(tmp_path)] == ["session"]
    journal.close()


@pytest.mark.parametrize("first", ["local", "network"])
def test_a_journal_may_move_between_disks(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, kind in enumerate((first, "network" if first == "local" else "local")):
        put_on(monkeypatch, kind)
        journal = open_journal(tmp_path, create=number == 0)
        journal.write("session", None, {"workers": number + 1})
        assert [event.data["workers"] for event in read_events(tmp_path)] == [1, 2][: number + 1]
        journal.close()


def test_a_reader_that_stands_still_keeps_nobody_from_writing(
    network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path, create=True)
    journal.write("session", None, {"workers": 1})
    copy = shutil.copyfile
    written: list[object] = []

    def copy_slowly(source: Path, target: Path) -> object:
        done = copy(source, target)
        if len(written) < 3:  # Between the beginning and the end of a copy.
            written.append(journal.write("session", None, {"workers": 2 + len(written)}))
        return done

    monkeypatch.setattr(shutil, "copyfile", copy_slowly)
    while len(written) < 3:
        seen = [event.data["workers"] for event in read_events(tmp_path)]
        assert seen == [1, 2, 3, 4][: len(seen)]
    assert [event.data["workers"] for event in read_events(tmp_path)] == [1, 2, 3, 4]
    journal.close()


def test_who_reads_while_another_machine_writes_gets_whole_events_and_a_kill_loses_none(
    network: None, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(run)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        seen = 0
        for _ in range(30):
            numbers = [event.data["number"] for event in read_events(run)]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) >= seen
            seen = len(numbers)
        os.kill(writer.pid, signal.SIGKILL)
    assert seen
    numbers = [event.data["number"] for event in read_events(run)]
    assert numbers == list(range(len(numbers)))
    journal = open_journal(run, create=True)  # There was no trial yet.
    journal.close()


def test_damage_is_told_there_too(network: None, tmp_path: Path) -> None:
    journal = open_journal(tmp_path, create=True)
    journal.write("session", None, {"text": "x" * 100_000})
    journal.close()
    content = (tmp_path / JOURNAL_FILE).read_bytes()
    (tmp_path / JOURNAL_FILE).write_bytes(content[:8192] + bytes(8192) + content[16384:])
    with pytest.raises(JournalError, match=r"journal\.db is damaged; nothing was changed"):
        read_events(tmp_path)
    (tmp_path / JOURNAL_FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(JournalError, match="not a database"):
        read_events(tmp_path)


def test_a_search_waits_for_a_backup_that_has_locked_its_journal(network: None, tmp_path: Path) -> None:
    journal = open_journal(tmp_path, create=True)
    backup = sqlite3.connect(tmp_path / JOURNAL_FILE, isolation_level=None, check_same_thread=False)
    backup.execute("BEGIN")
    backup.execute("SELECT count(*) FROM events").fetchone()
    ending = threading.Timer(0.3, backup.close)
    ending.start()
    journal.write("session", None, {})
    ending.join()
    assert len(read_events(tmp_path)) == 1
    journal.close()

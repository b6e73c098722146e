"""The commands that one types after a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers import RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.journal.history import read_history
from nas.reporting.next_steps import show_next
from nas.search.loop import run_search
from proxy_tasks.synthetic import SyntheticTask
from search_space import published_space

SPACE = published_space("r35-sp18")


CONFIG = """space:
  data:
    root: other
task:
  _target_: proxy_tasks.TrainingTask
  head:
    _target_: {head}
  data:
    _target_: {data}
    root: {root}
controller:
    root: other
"""


@pytest.mark.parametrize(
    ("head", "data", "root", "words"),
    [
        ("search_space.RetinaNetHead", "proxy_tasks.DetectionData", "/a/b-1", "task.data.root=/a/b-1"),
        (
            "search_space.MaskRCNNHead",
            "proxy_tasks.DetectionData",
            "set",
            "task=mask-rcnn-cpu task.data.root=set",
        ),
        ("x.Y", "proxy_tasks.LabeledImages", "set", "task=classification task.data.root=set"),
        (
            "search_space.FCOSHead",
            "proxy_tasks.DetectionData",
            "set",
            "task.head=fcos-small task.data.root=set",
        ),
        ("search_space.FCOSHead", "proxy_tasks.DetectionData", "null", "task.head=fcos-small"),
        ("x.Y", "proxy_tasks.DetectionData", "null", ""),
        ("x.Y", "proxy_tasks.DetectionData", "'a b'", ""),
        ("x.Y", "proxy_tasks.DetectionData", "a;b", ""),
    ],
)
def test_the_next_command_names_the_data_of_the_search(
    tmp_path: Path, head: str, data: str, root: str, words: str
) -> None:
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 1, tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.format(head=head, data=data, root=root))
    commands = dict(show_next(tmp_path, read_history(tmp_path)).commands)
    (train,) = (command for command in commands.values() if command.startswith("nas train"))
    assert train == f"nas train spec={tmp_path}/winners/best.json {words}".rstrip()

"""The number of trials that a search was given, which its configuration holds and its journal does not."""

from __future__ import annotations

import re
from pathlib import Path

from nas.utils.run_files import config_file
from search_space.utils.parsing import ParseError, read_bounded

MAX_BYTES = 1 << 20
"""A larger file is no configuration of ours."""

LINE = re.compile(r"^trials: (\d{1,9})$", re.MULTILINE)


def read_budget(folder: Path) -> int | None:
    """The trials that a search may take, or None if its configuration does not say it.

    The configuration may come from elsewhere, so that it is not parsed but searched for the line.
    """
    try:
        found = LINE.search(read_bounded(config_file(folder), MAX_BYTES))
    except (OSError, ParseError):
        return None
    return None if found is None else int(found[1])

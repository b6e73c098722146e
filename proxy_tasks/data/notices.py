"""How the user learns what is left out of a data set.

One line goes to the notices, which the commands print. The details go to the log, and `nas data check` names
them all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

LOG = logging.getLogger(__name__)

NOTICES = logging.getLogger("proxy_tasks.notices")
"""What the user of a search or of a training must see: it is logged, and the commands print it."""


def notify(line: str, details: Sequence[str], remarks: bool = False) -> None:
    """Logs a line for the user, and the details.

    Args:
        line: for the notices. It is a warning if there are details or remarks.
        details: everything that is wrong, one line each; they go to the log of this module.
        remarks: whether the line says more than counts.
    """
    NOTICES.log(logging.WARNING if details or remarks else logging.INFO, "%s", line)
    for detail in details:
        LOG.info("%s", detail)


def advice(root: Path, masks: bool = False) -> str:
    """Says which command names every fault of a data set.

    Args:
        root: the data set.
        masks: whether objects need pixels.
    """
    return f"nas data check {root}{' --masks' if masks else ''} names every fault"

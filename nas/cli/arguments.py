"""What the command line's modules share."""

from __future__ import annotations

from typing import Any

Commands = Any  # argparse's type for a set of subcommands has no public name.

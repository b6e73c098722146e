"""The `nas` command, also as `python -m nas`."""

from __future__ import annotations

import sys

from nas.utils.signals import end_on_lost_interrupts, end_on_signals

end_on_signals("nas: interrupted\n")  # The modules of the command take a moment to load.


def main() -> int:
    """Runs the command line and returns the exit status."""
    end_on_lost_interrupts()
    from nas.cli.main import main as run

    try:
        return run()
    finally:
        end_on_signals()


if __name__ == "__main__":
    sys.exit(main())

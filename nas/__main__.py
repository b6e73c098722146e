"""The `nas` command, also as `python -m nas`."""

import sys

from nas.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

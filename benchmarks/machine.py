"""What machine and what command made a figure."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from nas.utils.files import replace_file


def machine_name() -> str:
    """Processor, cores, Python and torch in one line."""
    processor = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    return (
        f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}"
    )


def command_line(benchmark: str) -> str:
    """The command that runs now.

    Args:
        benchmark: name of its module.
    """
    return shlex.join(["python", "-m", f"benchmarks.{benchmark}", *sys.argv[1:]])


def write_report(path: Path, benchmark: str, text: str) -> None:
    """Writes a table in Markdown below the command and the machine that made it, and prints it."""
    replace_file(path, f"`{command_line(benchmark)}`\n\n{machine_name()}\n\n{text}")
    print(text)

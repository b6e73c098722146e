"""What machine made a figure."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


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

"""The winners of real searches beside other networks, on several data sets, with p adjusted over all of them.

    uv run python -m benchmarks.over_data_sets FOLDER

FOLDER has a folder for each data set, which `benchmarks.real_searches` has written. The table gets into it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from benchmarks.machine import write_report
from benchmarks.real_searches import Against, compare
from benchmarks.rows import read_rows
from nas.analysis.ranking import holm


def read_comparisons(folder: Path) -> dict[str, dict[str, Against]]:
    """Gives the comparisons of each data set by its name, and by the other network."""
    return {
        path.parent.name: compare(read_rows(path), read_rows(path.with_name("trainings.jsonl")))
        for path in sorted(folder.glob("*/searches.jsonl"))
    }


def describe(found: Mapping[str, Mapping[str, Against]]) -> str:
    """Gives all comparisons as a table in Markdown.

    The p of each is told alone, and after Holm: for the networks of its data set, for the data sets of its
    network, and for all comparisons.
    """
    alone = {(others, name): against.p for name, its in found.items() for others, against in its.items()}
    of_set = _adjusted(alone, 1)
    of_network, of_all = _adjusted(alone, 0), holm(alone)
    lines = [
        "| winners against | data set | difference (90 %) | p, one-sided | p of all networks of the set "
        f"| p of all sets | p of all {len(alone)} |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for place in sorted(alone):
        other, name = place
        ps = " | ".join(f"{p[place]:.2g}" for p in (alone, of_set, of_network, of_all))
        lines.append(f"| {other} | {name} | {found[name][other].describe()} | {ps} |")
    return "\n".join(lines) + "\n"


def _adjusted(alone: Mapping[tuple[str, str], float], part: int) -> dict[tuple[str, str], float]:
    """The p after Holm, for all that share a part of their place."""
    return {
        place: p
        for shared in {place[part] for place in alone}
        for place, p in holm({place: p for place, p in alone.items() if place[part] == shared}).items()
    }


def main() -> None:
    """Writes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    write_report(options.folder / "table.md", "over_data_sets", describe(read_comparisons(options.folder)))


if __name__ == "__main__":
    main()

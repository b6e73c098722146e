"""The XML files of a folder, by their outermost element."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxy_tasks.data.dataset import Fault
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.pascal_voc import parse_xml
from search_space.utils.regular_file import read_regular


def xml_roots(contents: Contents, tag: str) -> tuple[list[tuple[Path, Any]], list[Fault]]:
    """Gives the outermost elements of one tag with their files, and the files that cannot be read."""
    found, faults = [], []
    for path in contents.others[".xml"]:
        try:
            element = parse_xml(read_regular(path))
        except (OSError, ValueError) as error:
            faults.append(Fault(contents.relative(path), str(error), "the image"))
            continue
        if element.tag == tag:
            found.append((path, element))
    return found, faults

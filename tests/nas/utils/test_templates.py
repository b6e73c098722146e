"""Templates: HTML is escaped, Markdown is not, and a name without a value is an error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from nas.utils.templates import render


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "with_templates"
    (folder / "templates").mkdir(parents=True)
    (folder / "__init__.py").touch()
    for name in ("page.html.j2", "page.md.j2"):
        (folder / "templates" / name).write_text("{{ value }}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "with_templates", raising=False)
    return "with_templates"


def test_html_is_escaped_and_markdown_is_not(package: str) -> None:
    assert render(package, "page.html.j2", value="<b>") == "&lt;b&gt;"
    assert render(package, "page.html.j2", value=Markup("<b>")) == "<b>"
    assert render(package, "page.md.j2", value="<b>") == "<b>"


def test_a_name_without_a_value_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="value"):
        render(package, "page.html.j2", other=1)

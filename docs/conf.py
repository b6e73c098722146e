"""The documents as a site: uv run --group docs sphinx-build -W docs site."""

import re
from html import escape
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

project = "spinenas"
version = release = version_of("spinenas")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "code"
html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
myst_heading_anchors = 3
# Pages also read well in a checkout, where they point at files that the site does not have.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True


def setup(app: Any) -> None:
    """Has every page looked for in the site that was built."""
    app.connect("build-finished", check_headings)


def check_headings(app: Any, error: Exception | None) -> None:
    """Refuses a site without one of our pages: Sphinx writes search.html and others itself, over ours.

    Raises:
        ValueError: naming the page.
    """
    if error is not None or app.builder.name != "html":
        return
    for page in sorted(app.env.found_docs):
        heading = escape(app.env.titles[page].astext(), quote=False)
        text = Path(app.builder.get_outfilename(page)).read_text(encoding="utf-8")
        found = re.search(r"<h1>(.*?)</h1>", text, re.DOTALL)
        if found is None or heading not in re.sub(r"<[^>]+>", "", found[1]):
            raise ValueError(f"the page {page} is not in the site: rename it, its heading is {heading!r}")

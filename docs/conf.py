"""The documents as a site: uv run --group docs sphinx-build -W docs site."""

from importlib.metadata import version as version_of

project = "spinenas"
version = release = version_of("spinenas")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "code"
html_theme = "furo"
html_title = f"{project} {version}"
myst_heading_anchors = 3
# Pages also read well in a checkout, where they point at files that the site does not have.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True

"""Documents from templates: files `templates/*.j2` of a package, rendered by Jinja."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(package: str, name: str, **values: Any) -> str:
    """The text that a template makes of some values.

    What goes into an HTML template (`*.html.j2`) is escaped, unless it is `markupsafe.Markup`.

    Args:
        package: the package that has the template in its folder `templates`, such as "nas.reporting".
        name: of the file, such as "report.html.j2".
        values: the names that the template uses.

    Raises:
        jinja2.UndefinedError: if the template uses a name that has no value.
    """
    return _environment(package).get_template(name).render(values)


@cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=PackageLoader(package),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

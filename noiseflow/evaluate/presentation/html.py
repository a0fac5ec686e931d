"""HTML pages from templates, in which all strings are escaped."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from noiseflow.core.sortable import SORT_SCRIPT, SORT_STYLE
from noiseflow.core.text import OF_ONE_NUMBER, html_text

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """Render a template.

    Parameters
    ----------
    template : str
        Name of a file in ``templates``.
    **values
        Variables of the template; strings are escaped with `html_text`.

    Returns
    -------
    str
        HTML of a page or a part of one.
    """
    environment = Environment(
        loader=PackageLoader("noiseflow.evaluate.presentation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters["tied"] = _tied
    sorting = {"sort_style": SORT_STYLE, "sort_script": SORT_SCRIPT}
    environment.globals |= {name: Markup(text) for name, text in sorting.items()}  # noqa: S704  (constants)
    return environment.get_template(template).render(**values)


def _tied(text: str) -> Markup:
    """Escape a sentence, and keep each number on one line with its interval and unit."""
    return Markup(re.sub(OF_ONE_NUMBER, "&nbsp;", html_text(text)))  # noqa: S704  (as below)


def _harmless(value: Any) -> Any:
    """Escape a string that is not yet markup."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return Markup(html_text(value))  # noqa: S704  (html_text escapes all of it)

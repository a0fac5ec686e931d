"""Pages from templates: every text in them is shown as text, whatever it holds."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from noiseflow.core.text import OF_ONE_NUMBER, html_text

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """A page or a part of one.

    Parameters
    ----------
    template : str
        Name of a file in ``templates``.
    **values
        What the template shows; texts become `html_text`.
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
    return environment.get_template(template).render(**values)


def _tied(text: str) -> Markup:
    """A sentence that breaks between words, never within a number, its interval and its unit."""
    return Markup(OF_ONE_NUMBER.sub("&nbsp;", html_text(text)))  # noqa: S704  (as below)


def _harmless(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return Markup(html_text(value))  # noqa: S704  (html_text escapes all of it)

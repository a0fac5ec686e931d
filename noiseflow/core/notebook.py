"""HTML of models and stores for notebooks: a table of facts and a small plot."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle

from noiseflow.core.text import html_text

__all__ = ["curves", "facts"]

LINES = ("-", "--", "-.", ":")


def facts(title: str, rows: Mapping[str, str], drawing: str = "") -> str:
    """HTML with a title, a table of two columns, and a plot.

    Parameters
    ----------
    title : str
        Title, as plain text.
    rows : mapping of str to str
        Label → value, both plain text.
    drawing : str
        SVG, as from `curves`.
    """
    body = "".join(
        f"<tr><th style='text-align:left'>{html_text(k)}</th><td>{html_text(v)}</td></tr>" for k, v in rows.items()
    )
    return f"<div><b>{html_text(title)}</b><table>{body}</table>{drawing}</div>"


def curves(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str) -> str:
    """Plot curves on logarithmic axes; return SVG.

    Parameters
    ----------
    lines : mapping
        Label → values of x and y.
    x_label, y_label : str
        Labels of the axes, with units.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.8), layout="constrained")
    axes = figure.subplots()
    for (label, (x, y)), style in zip(lines.items(), cycle(LINES), strict=False):
        axes.plot(x, y, style, label=label, color="0.35")
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    axes.legend(frameon=False, fontsize="small")
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]

"""Formatting of numbers and names for a report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from noiseflow.core.text import plain_text
from noiseflow.evaluate.statistics.intervals import Interval

__all__ = [
    "cell_labels",
    "cell_name",
    "join",
    "number",
    "percent",
    "plus_minus",
    "renamed",
    "shown_names",
    "significant",
    "times",
]

LOPSIDED = 0.1
"""Asymmetry above which an interval is not shown as ±: distance of the value from its middle over its half width."""

LONGEST = 60
"""Largest number of characters of a name in a report."""


def number(value: float | None, decimals: int) -> str:
    """Format a number with fixed decimals and a typographic minus sign; ``–`` if it is missing or not finite.

    >>> number(-1.25, 1)
    '−1.2'
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def plus_minus(estimate: Interval, decimals: int = 4) -> str:
    """Format a value as value ± half interval, with two digits of the latter; without interval, with `decimals`.

    An asymmetric interval is written out as (low to high).

    >>> plus_minus(Interval(0.41234, 0.01, 0.39234, 0.43234, 9))
    '0.412 ± 0.020'
    """
    half = estimate.half_width
    if half is None or not math.isfinite(half):
        return number(estimate.value, decimals)
    if half > 0:
        decimals = min(max(1 - math.floor(math.log10(half)), 0), 6)
    low, high = estimate.low, estimate.high
    lopsided = low is not None and high is not None and abs((low + high) / 2 - estimate.value) > LOPSIDED * half
    if lopsided or (low is not None and high is not None and (low > 0 or high < 0) != (abs(estimate.value) > half)):
        return f"{number(estimate.value, decimals)} ({number(low, decimals)} to {number(high, decimals)})"
    return f"{number(estimate.value, decimals)} ± {number(half, decimals)}"


def percent(part: float, decimals: int = 0) -> str:
    """Format a fraction as a percentage.

    >>> percent(0.95)
    '95 %'
    """
    return f"{number(100 * part, decimals)} %"


def times(value: float) -> str:
    """Format a factor with three digits: ``1.86 ×``."""
    return f"{value:.3g} ×" if math.isfinite(value) else "–"


def join(names: list[str]) -> str:
    """Join names: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def significant(value: float | None) -> str:
    """Format a number with two significant digits and without an exponent.

    >>> significant(0.0000521)
    '0.000052'
    """
    if value is None or not math.isfinite(value) or value == 0:
        return number(value, 4)
    return number(value, max(1 - math.floor(math.log10(abs(value))), 0))


def cell_name(camera: str | None, iso: float | None) -> str:
    """Format camera and ISO: ``S6 · ISO 800``; ``all`` if one is None."""
    return "all" if camera is None or iso is None else f"{camera} · ISO {iso:g}"


def cell_labels(cells: Sequence[tuple[str | None, float | None]]) -> list[str]:
    """Format cameras and ISOs for an axis: without the camera if there is only one; long names are cut.

    >>> cell_labels([(None, None), ("S6", 100.0), ("S6", 800.0)])
    ['all', 'ISO 100', 'ISO 800']
    """
    several = len({camera for camera, _ in cells} - {None}) > 1
    return [_label(camera, iso) if several else cell_name(camera, iso).split(" · ")[-1] for camera, iso in cells]


def _label(camera: str | None, iso: float | None) -> str:
    return cell_name(camera if camera is None or len(camera) <= 14 else camera[:13] + "…", iso)


def shown_names(names: Iterable[str]) -> dict[str, str]:
    """Return replacements for the names that cannot be shown as they are; distinct names stay distinct."""
    names = list(dict.fromkeys(names))
    taken = {name for name in names if plain_text(name, LONGEST) == name and name}
    changed: dict[str, str] = {}
    for name in names:
        if name in taken:
            continue
        shown = short = plain_text(name, LONGEST) or "(no name)"
        number = 1
        while shown in taken:
            number += 1
            shown = f"{short} ({number})"
        taken.add(shown)
        changed[name] = shown
    return changed


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Replace names in dataclasses, mappings, tuples and strings, including sentences.

    Parameters
    ----------
    value : Any
        A value, such as an `Evaluation`.
    names : mapping of str to str
        Replacements from `shown_names`; if empty, `value` is returned as it is.

    Returns
    -------
    Any
        A copy of the value with all names replaced.
    """
    if not names:
        return value
    if isinstance(value, str):
        return names.get(value) or _in_sentence(value, names)
    if isinstance(value, Mapping):
        return {renamed(name, names): renamed(item, names) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(renamed(item, names) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        content = {field.name: renamed(getattr(value, field.name), names) for field in fields(value)}
        return type(value)(**content)
    return value


def _in_sentence(text: str, names: Mapping[str, str]) -> str:
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = text.replace(name, names[name])
    return text

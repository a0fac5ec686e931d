"""Numbers of a result, kept in a file: a change of any one is seen, and is wanted or it is a fault.

Tests by formula say what a number must be; these say that none of the others moved with it.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noiseflow.evaluate.metric import as_json

__all__ = ["assert_pinned", "differences", "numbers_in", "pinned"]

LONGEST = 8
"""Longest list of numbers that is kept as it is."""

DIGITS = 6
"""Digits that are kept."""

SENTENCE = 40
"""Characters from which a text counts as a sentence, of which the numbers are kept and not the words."""


def numbers_in(text: str) -> list[float]:
    """Numbers of a text, in order.

    >>> numbers_in("−1,200 of 3.5 %")
    [-1200.0, 3.5]
    """
    return [float(each.replace(",", "").replace("−", "-")) for each in re.findall(r"[−-]?\d[\d,]*(?:\.\d+)?", text)]


def pinned(value: Any) -> Any:
    """JSON values with floats of `DIGITS` digits; of long lists of numbers length, sum, Σ i·xᵢ and Σ xᵢ² only.

    >>> pinned({"a": (1, 2.123456789), "long": [1.0] * 9})
    {'a': [1, 2.12346], 'long': {'of': 9, 'sum': 9.0, 'by place': 36.0, 'squares': 9.0}}
    """
    return _short(as_json(value))


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    if isinstance(value, list):
        values = list(_flat(value))
        if len(values) <= LONGEST or not all(each is None or isinstance(each, (int, float)) for each in values):
            return [_short(each) for each in value]
        known = [0.0 if each is None else float(each) for each in values]
        by_place = sum(place * each for place, each in enumerate(known))
        sums = {"sum": sum(known), "by place": by_place, "squares": sum(each**2 for each in known)}
        return {"of": len(values), **_short(sums)}
    if isinstance(value, str) and len(value) >= SENTENCE:
        return {"numbers of a sentence": numbers_in(value)}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _flat(value: Any) -> Iterator[Any]:
    for each in value:
        if isinstance(each, list):
            yield from _flat(each)
        else:
            yield each


def differences(found: Any, kept: Any, tolerance: float, small: float, at: str = "") -> Iterator[str]:
    """Places where two values differ: floats by more than `tolerance` of the kept one and than `small`, others at all.

    >>> list(differences({"a": [1.0, 2.0]}, {"a": [1.0, 2.1]}, 1e-4, 1e-6))
    ['a.1: 2.0, was 2.1']
    """
    if isinstance(found, dict) and isinstance(kept, dict) and list(found) == list(kept):
        for name, each in found.items():
            yield from differences(each, kept[name], tolerance, small, f"{at}.{name}".lstrip("."))
    elif isinstance(found, list) and isinstance(kept, list) and len(found) == len(kept):
        for place, (one, other) in enumerate(zip(found, kept, strict=True)):
            yield from differences(one, other, tolerance, small, f"{at}.{place}".lstrip("."))
    elif isinstance(found, float) and isinstance(kept, (int, float)):
        if not math.isclose(found, kept, rel_tol=tolerance, abs_tol=small):
            yield f"{at}: {found}, was {kept}"
    elif found != kept:
        yield f"{at}: {str(found)[:80]}, was {str(kept)[:80]}"


def assert_pinned(value: Any, file: Path, *, tolerance: float = 2e-3, small: float = 2e-5) -> None:
    """Compare with the numbers of a file; without the file write it, and fail.

    Parameters
    ----------
    value : object
        Dataclasses, mappings, sequences and numbers.
    file : Path
        JSON file.
    tolerance, small : float
        Largest difference, relative and absolute.  PyTorch without AVX rounds otherwise: one value in 30,000 is at
        the next code, and small differences of a report move by 0.1 %.

    Raises
    ------
    AssertionError
        Some numbers are others, or the file was missing.
    """
    numbers = pinned(value)
    if not file.exists():
        file.write_text(json.dumps(numbers, ensure_ascii=False, indent=0).replace("\n", " ") + "\n", "utf-8")
        raise AssertionError(f"{file} was missing and is written: look at its difference, and commit it")
    found = list(differences(numbers, json.loads(file.read_text("utf-8")), tolerance, small))
    assert not found, (
        f"{len(found)} numbers of {file.name} are others: {'; '.join(found[:5])}. If they should be, say so in "
        "CHANGELOG.md, remove the file and run the test again"
    )

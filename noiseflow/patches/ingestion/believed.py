"""The table of facts that an ingest used, with their sources: levels, ISO, CFA, pairing, and what was left out."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.patches.assembly.parts import PartNote
from noiseflow.patches.ingestion.plan import Plan
from noiseflow.patches.pairings import PAIRINGS
from noiseflow.patches.pairings.pairing import Pairing
from noiseflow.raw.image import RawImage

__all__ = ["believed_of_frame", "believed_of_ingest", "doubtful_clean", "layout_of_all"]

CENSORED = 1e-3
"""Fraction of the values at code 0 above which a caution says that the mean of frames is biased."""

INDEPENDENT, FEWEST, LEAST_NOISE = 0.5, 100, 1.0
"""For independent noise in n frames, n · mean² / (mean square) averages to 1, ± 0.09 over 256 pixels; below the first
value the noise is not independent.  Then the fewest pixels needed, and the mean square in DN² that a pixel needs."""

MOST_VALUES = 4
"""Number of values of one fact that are listed; further ones are only counted."""

FACTS = {
    "camera": "camera",
    "cfa": "CFA",
    "iso": "ISO",
    "exposure_s": "exposure",
    "black": "black level",
    "white": "white level",
}
"""Fields of `RawImage` whose source is known → name of the fact in the table."""


def believed_of_frame(image: RawImage) -> dict[str, list[str]]:
    """Facts of one frame: name → value and source, as text.

    Parameters
    ----------
    image : RawImage
        The frame; its pixels are not read.
    """
    places = dict(image.taken_from)
    values = {
        "camera": image.camera,
        "cfa": image.pattern,
        "iso": "" if image.iso is None else f"{image.iso:g}",
        "exposure_s": "" if image.exposure_s is None else f"{image.exposure_s:.6g} s",
        "black": _levels(image.black),
        "white": f"{image.white:g} DN",
    }
    known = {FACTS[name]: [value, places.get(name, "the file")] for name, value in values.items() if value}
    if image.clip:
        known["clipped from"] = [_levels(image.clip), "the pixels"]
    return known


def _levels(levels: Sequence[float]) -> str:
    """Format levels as ``64 DN``, or one per plane if they differ."""
    return ", ".join(f"{level:g}" for level in (levels[:1] if len(set(levels)) == 1 else levels)) + " DN"


def believed_of_ingest(notes: Sequence[PartNote], plan: Plan) -> tuple[tuple[str, str, str], ...]:
    """Table of facts of an ingest: rows of name, value with its number of frames, and source.

    Parameters
    ----------
    notes : sequence of PartNote
        Notes of all frames.
    plan : Plan
        Plan of the ingest.
    """
    if plan.options.body:
        how = "its pattern is in the clean signal, hot pixels are masked"
        rows_of_body = [("body", plan.options.body, how if PAIRINGS[plan.pairing].twin else "hot pixels are masked")]
    else:
        rows_of_body = []
    rows = [("pairing", plan.pairing, plan.reason), ("split by", plan.split_by, _why(plan.options.split_by))]
    rows += rows_of_body
    for fact in dict.fromkeys(fact for note in notes for fact in note.believed):
        places: dict[str, Counter[str]] = {}
        for value, source in (note.believed[fact] for note in notes if fact in note.believed):
            places.setdefault(value, Counter())[source] += 1
        found = sorted(places, key=lambda value: -places[value].total())
        for value in found[:MOST_VALUES]:
            frames = "" if len(found) == 1 else f" ({_frames(places[value].total())})"
            # The same value may come from a different file name in each frame.
            source, more = next(iter(places[value])), len(places[value]) - 1
            rows.append((fact, value + frames, f"{source} and {more} more like it" if more else source))
        if len(found) > MOST_VALUES:
            rest = len(found) - MOST_VALUES
            rows.append((fact, f"{rest} more value(s)", "other frames"))
    clipped, masked = sum(note.clipped for note in notes), sum(note.masked for note in notes)
    reasons = {"at code 0 or clipped": clipped, "too many pixels masked": masked}
    rows += [("left out", f"{count} patch(es)", why) for why, count in reasons.items() if count]
    rows += _of_values(notes)
    rows += [("left out", line, "see the sources") for line in plan.notes if "left out" in line]
    return tuple(rows)


def layout_of_all(notes: Sequence[PartNote]) -> str:
    """Plane layout of all frames.

    Raises
    ------
    RawError
        If frames have different layouts.
    """
    first = notes[0]
    for note in notes:
        if note.layout != first.layout:
            raise RawError(
                f"{note.sources[0]}: a {note.layout} frame cannot be stored together with {first.layout} frames such "
                f"as {first.sources[0]}; ingest each kind separately"
            )
    return first.layout


def _of_values(notes: Sequence[PartNote]) -> list[tuple[str, str, str]]:
    """Rows with the number of masked values, by reason, and of censored values."""
    total, masked, bright, zero = (
        sum(getattr(note, name) for note in notes)
        for name in ("values", "masked_values", "bright_values", "zero_values")
    )
    reasons = (
        ("masked", masked - bright, "defective or moving"),
        ("masked", bright, "a clean signal at which the frame clips"),
        ("censored", zero, "at code 0, which means any value at or below it"),
    )
    return [(what, f"{count:,} values ({100 * count / total:.2g} %)", why) for what, count, why in reasons if count > 0]


def _why(wanted: str) -> str:
    return "the pairing" if wanted == "auto" else "as requested"


def _frames(count: int) -> str:
    return f"{count} frame{'s' if count > 1 else ''}"


def doubtful_clean(pairing: Pairing, notes: Sequence[PartNote]) -> Iterator[str]:
    """Yield cautions about clean signals that are biased, or that contain the frames' own noise.

    Parameters
    ----------
    pairing : Pairing
        The pairing that made the clean signals.
    notes : sequence of PartNote
        Notes of all frames.
    """
    zeros, values = (sum(getattr(note, name) for note in notes) for name in ("zero_values", "values"))
    if not pairing.twin and pairing.clean == "signal" and zeros > CENSORED * values:
        yield (
            f"{100 * zeros / values:.2g} % of the values are clipped at code 0, so the mean of the frames lies above "
            "the signal, and the noise in dark parts comes out too small. Calibrate with darks, which accounts for the "
            "clipping, or use clean twins"
        )
    scenes: dict[str, list[PartNote]] = {}
    for note in notes:
        if note.noise:
            scenes.setdefault(note.scenes[0], []).append(note)
    for name, frames in scenes.items():
        if is_own_mean([note.noise for note in frames]):
            yield (
                f"{name}: its clean twin is the mean of these {len(frames)} frames themselves, so it contains their "
                f"noise, and gain and noise variance come out 1/{len(frames)} too small; remove the twin and give "
                "--pairing burst, which compares each frame with the mean of the others"
            )


def is_own_mean(noise: Sequence[Sequence[float]]) -> bool:
    """Whether the noise of the frames sums to 0 in each pixel, which shows that the clean signal is their own mean.

    Parameters
    ----------
    noise : sequence of n sequences of float
        Noise in DN at the same pixels of each frame.
    """
    if len(noise) < 2 or len({len(each) for each in noise}) > 1:
        return False
    values = np.asarray(noise, np.float64)
    square = (values**2).mean(0)
    some = square > LEAST_NOISE
    return bool(some.sum() >= FEWEST and (len(values) * values.mean(0)[some] ** 2 / square[some]).mean() < INDEPENDENT)

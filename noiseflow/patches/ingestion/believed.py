"""The table of facts that an ingest used, with their sources: levels, ISO, CFA, pairing, and what was left out."""

import base64
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.patches.assembly.parts import PartNote
from noiseflow.patches.ingestion.plan import Plan
from noiseflow.patches.pairings import PAIRINGS
from noiseflow.patches.pairings.pairing import SAMPLED_SIDE, Pairing
from noiseflow.raw.image import RawImage

__all__ = ["believed_of_frame", "believed_of_ingest", "doubtful_clean", "layout_of_all"]

CENSORED = 1e-3
"""Fraction of the values at code 0 above which a caution says that the mean of frames is biased."""

SURE_SIGMAS, LEAST_PART, FEWEST, LEAST_NOISE = 6.0, 0.01, 100, 1.0
"""Frames are reported as part of their clean twin if their noise shows it by this many standard errors and by this
fraction; then the fewest pixels needed, and the mean square in DN² that a pixel needs."""

ALIKE = 4.0
"""Scenes are reported together if the part that each shares is their mean within this many standard errors."""

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
            frames = "" if len(found) == 1 else f" ({counted(places[value].total(), 'frame')})"
            # The same value may come from a different file name in each frame.
            source, more = next(iter(places[value])), len(places[value]) - 1
            rows.append((fact, value + frames, f"{source} and {more} more like it" if more else source))
        if len(found) > MOST_VALUES:
            rest = len(found) - MOST_VALUES
            rows.append((fact, counted(rest, "more value"), "other frames"))
    clipped, masked = sum(note.clipped for note in notes), sum(note.masked for note in notes)
    reasons = {"at code 0 or clipped": clipped, "too many pixels masked": masked}
    rows += [("left out", counted(count, "patch", "patches"), why) for why, count in reasons.items() if count]
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
    scenes: dict[str, list[str]] = {}
    for note in notes:
        if note.noise:
            scenes.setdefault(note.scenes[0], []).append(note.noise)
    yield from _own_means(scenes)


def _own_means(scenes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield cautions about clean twins that are means of the frames themselves.

    Parameters
    ----------
    scenes : mapping of str to sequence of str
        Scene → noise of each of its frames, from `FramePair.noise_sample`.
    """
    found = {name: each for name, noise in scenes.items() if (each := shared_with_mean(noise)) is not None}
    if not found:
        return
    together = _together(found.values())
    alike = all(abs(each.part - together.part) < ALIKE * each.error for each in found.values())
    # What one scene leaves open, many may decide together.
    sure = found if together.sure and alike else {name: each for name, each in found.items() if each.sure}
    if not sure:
        return
    name = next(iter(sure))
    frames = len(scenes[name])
    part = together.part if sure is found else sure[name].part
    whole = abs(part - 1 / frames) < 0.2 / frames
    of = (
        f"these {frames} frames themselves" if whole else f"about {1 / part:.0f} frames, with these {frames} among them"
    )
    others = f" (and so of {counted(len(sure) - 1, 'other scene')})" if len(sure) > 1 else ""
    yield (
        f"{name}: its clean twin is the mean of {of}{others}: each frame is part of it, so gain and noise variance "
        f"come out too small by {f'1/{frames}' if whole else f'{100 * part:.2g} %'}; remove the twin and use "
        "--pairing burst, which compares each frame with the mean of the others"
    )


@dataclass(frozen=True)
class Shared:
    """How much of a frame's noise its clean twin has.

    Parameters
    ----------
    part : float
        1/n of a mean of n frames that the frame is in; 0 of any other clean signal.
    error : float
        Its standard error.
    """

    part: float
    error: float

    @property
    def sure(self) -> bool:
        """Whether there is such a part beyond chance, and large enough to matter."""
        return self.part > max(SURE_SIGMAS * self.error, LEAST_PART)


def _together(parts: Collection[Shared]) -> Shared:
    """Mean of several scenes, weighted by their errors."""
    weight = sum(each.error**-2 for each in parts)
    return Shared(sum(each.part * each.error**-2 for each in parts) / weight, weight**-0.5)


def shared_with_mean(noise: Sequence[str]) -> Shared | None:
    """What the frames of a scene have in common with their clean twin; None if they cannot tell.

    The departures of frames from a mean of n frames that they are in are correlated by −1/(n − 1); those from any
    other clean signal by 0, or by more if that is noisy.  One frame alone does not show it: x − m and m are not
    correlated, as if m were exact and x had less noise.

    Of m frames, t = Σ(Σx)² / ΣΣx², over pixels and within them over frames, is 1 for independent frames, and else
    1 − (m − 1)/(n − 1).  Noise that pixels of a row, or of a column, share makes them count as one.

    Parameters
    ----------
    noise : sequence of m str
        Of the same pixels in each frame, as `FramePair.noise_sample` has it.
    """
    frames = len(noise)
    if frames < 2:
        return None
    shape = (frames, SAMPLED_SIDE, SAMPLED_SIDE)
    values = np.frombuffer(b"".join(map(base64.b64decode, noise)), np.float16).reshape(shape).astype(np.float64)
    square = (values**2).mean(0)
    some = square > LEAST_NOISE
    if some.sum() < FEWEST:
        return None
    shared = np.where(some, frames * values.mean(0) ** 2, 0.0)
    # A ratio of sums: the mean of ratios is another number where some pixels have much of their noise in common.
    total = float(square[some].sum())
    t = float(shared.sum()) / total
    excess = np.where(some, shared - t * square, 0.0)
    by_lines = max(float((excess.sum(axis) ** 2).sum()) for axis in (0, 1))
    doubt = max(by_lines, float((excess**2).sum())) ** 0.5 / total
    # 1/n, and its error by that of t, of which it is a function.
    below = (1 - t) / (frames - 1)
    error = doubt / (frames - 1) / (1 + below) ** 2
    # All frames of a mean add up to exactly nothing, which is rounded.
    return Shared(below / (1 + below), max(error, LEAST_PART / SURE_SIGMAS))

"""Folders that ``noiseflow synthesize`` wrote: clean pictures with noise drawn from a model."""

import json
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.core.output.checks import inside
from noiseflow.patches.sources.scene import Collection, Scene, clean_frame, file_frame
from noiseflow.raw.settings import RawSettings

__all__ = ["PAIRS", "SYNTHESIS", "gather", "recognises"]

SYNTHESIS, PAIRS = "synthesis.json", "manifest.jsonl"
"""Files of such a folder: how it was made, and a line for each pair."""


def recognises(path: Path) -> bool:
    """Whether a folder holds the two files."""
    return (path / SYNTHESIS).is_file() and (path / PAIRS).is_file()


def gather(path: Path, settings: RawSettings) -> Collection:
    """Each pair is a scene with a clean twin; the pairs of one picture are of one subject.

    Raises
    ------
    RawError
        The manifest cannot be understood.
    """
    try:
        pairs = [json.loads(line) for line in (path / PAIRS).read_text(encoding="utf-8").splitlines()]
        scenes = tuple(
            Scene(
                name=pair["name"],
                frames=(file_frame(inside(path, pair["noisy"], path / PAIRS), settings),),
                clean=clean_frame(inside(path, pair["clean"], path / PAIRS), settings),
                subject=pair["picture"],
                facts={key: pair[key] for key in ("exposure", "seed", "source")},
            )
            for pair in pairs
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise RawError(f"{path / PAIRS}: cannot understand it ({error!r}); synthesize again") from error
    return Collection(scenes)

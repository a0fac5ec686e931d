"""Folders written by ``noiseflow synthesize``: clean pictures with noise sampled from a model."""

import json
from pathlib import Path

from noiseflow.core.errors import RawError
from noiseflow.core.output.checks import inside
from noiseflow.patches.sources.scene import Collection, Scene, clean_frame, file_frame
from noiseflow.raw.settings import RawSettings

__all__ = ["PAIRS", "SYNTHESIS", "gather", "recognises"]

SYNTHESIS, PAIRS = "synthesis.json", "manifest.jsonl"
"""Files in such a folder: how it was made, and one line per pair."""


def recognises(path: Path) -> bool:
    """Whether a folder contains both files."""
    return (path / SYNTHESIS).is_file() and (path / PAIRS).is_file()


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene with a clean twin of each pair; pairs from one picture have the same subject.

    Raises
    ------
    RawError
        If the manifest is damaged.
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
        raise RawError(f"{path / PAIRS}: cannot be understood ({error!r}); synthesize again") from error
    return Collection(scenes)

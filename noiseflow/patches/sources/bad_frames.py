"""Leave out frames that cannot be read, and report them."""

from dataclasses import replace

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.scene import Collection, Frame, Scene

__all__ = ["without_bad"]


def without_bad(collection: Collection) -> Collection:
    """Remove the frames that cannot be read from a collection, and add the reasons to its report.

    A scene is removed if its clean twin or none of its frames can be read.

    Parameters
    ----------
    collection : Collection
        Scenes to check; every frame is read.

    Raises
    ------
    RawError
        If no frame can be read.
    """
    reasons: list[str] = []
    kept = [scene for each in collection.scenes if (scene := _readable(each, reasons)) is not None]
    if not kept:
        raise RawError(f"no frame can be read; the first: {reasons[0] if reasons else 'there is none'}")
    report = tuple(f"left out: {reason}" for reason in reasons)
    return replace(collection, scenes=tuple(kept), report=(*collection.report, *report))


def _readable(scene: Scene, reasons: list[str]) -> Scene | None:
    if scene.clean is not None and not _can_be_read(scene.clean, reasons):
        return None
    frames = tuple(frame for frame in scene.frames if _can_be_read(frame, reasons))
    return replace(scene, frames=frames) if frames else None


def _can_be_read(frame: Frame, reasons: list[str]) -> bool:
    try:
        frame.read()
    except RawError as error:
        reasons.append(str(error))
        return False
    return True

"""Which of a model's cameras a frame belongs to, and a word where the frame is of another."""

from collections.abc import Sequence

from noiseflow.core.errors import ModelError
from noiseflow.raw.image import RawImage

__all__ = ["camera_for", "other_camera"]

UNSAID = ("", "unknown")
"""Camera of a file that does not say it."""


def camera_for(cameras: Sequence[str], frame: RawImage | None, given: str | None, flag: str = "--camera") -> str:
    """Name of a model's camera: the given one, else that of the frame, else the model's only one.

    Parameters
    ----------
    cameras : sequence of str
        Cameras that the model knows.
    frame : RawImage, optional
        Frame of that camera; None where it is to become one.
    given : str, optional
        Name that the user gave, in any case.
    flag : str
        Flag that gives it, for errors.

    Raises
    ------
    ModelError
        The model does not know the camera, or knows several and nothing says which.
    """
    known = {name.casefold(): name for name in cameras}
    wanted = given if given is not None else frame.camera if frame is not None else ""
    if wanted.casefold() in known:
        return known[wanted.casefold()]
    listed = ", ".join(cameras)
    if given is not None:
        raise ModelError(f"{flag} {given!r}: the model does not know this camera; it knows {listed}")
    if len(cameras) == 1:
        return cameras[0]
    of_frame = "" if frame is None or wanted in UNSAID else f"{frame.source} is of {wanted}, but "
    raise ModelError(f"{of_frame}the model knows several cameras: say which with {flag}: {listed}")


def other_camera(camera: str, frame: RawImage) -> str | None:
    """A sentence that a frame is of another camera than the one whose noise is used; None if not, or not known.

    Parameters
    ----------
    camera : str
        Camera of the model.
    frame : RawImage
        The frame.
    """
    if frame.camera in UNSAID or frame.camera.casefold() == camera.casefold():
        return None
    return (
        f"{frame.source}: of {frame.camera}, but the model's camera is {camera}; "
        "if these are two cameras, the frame's levels and clean signal do not belong to this noise"
    )

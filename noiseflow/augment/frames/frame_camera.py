"""The camera of a model to use for a frame, and a caution if the frame comes from another camera."""

from collections.abc import Sequence

from noiseflow.core.errors import ModelError
from noiseflow.raw.image import RawImage

__all__ = ["camera_for", "other_camera"]

UNSAID = ("", "unknown")
"""Camera names of files that contain none."""


def camera_for(cameras: Sequence[str], frame: RawImage | None, given: str | None, flag: str = "--camera") -> str:
    """Choose a camera of a model: the given one, else that of the frame, else the model's only one.

    Parameters
    ----------
    cameras : sequence of str
        Cameras that the model knows.
    frame : RawImage, optional
        Frame taken with that camera; None if there is no such frame.
    given : str, optional
        Name given by the user, in upper or lower case.
    flag : str
        Command-line flag for that name, for error messages.

    Raises
    ------
    ModelError
        The model does not know the camera, or knows several and none is selected.
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
    of_frame = "" if frame is None or wanted in UNSAID else f"{frame.source} is from {wanted}, but "
    raise ModelError(f"{of_frame}the model knows several cameras: choose one with {flag}: {listed}")


def other_camera(camera: str, frame: RawImage) -> str | None:
    """Caution that a frame comes from another camera than the noise; None if it does not, or this is unknown.

    Parameters
    ----------
    camera : str
        Camera of the noise model.
    frame : RawImage
        The frame.
    """
    if frame.camera in UNSAID or frame.camera.casefold() == camera.casefold():
        return None
    return (
        f"{frame.source}: is from {frame.camera}, but the model's camera is {camera}; "
        "if these are different cameras, the frame's levels and clean signal do not match this noise"
    )

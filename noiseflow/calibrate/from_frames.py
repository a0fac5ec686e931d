"""From frames to a profile: each ISO and plane is measured with every kind of frame present."""

from collections.abc import Sequence

from noiseflow.calibrate.kinds import FRAME_KINDS
from noiseflow.calibrate.measured import Calibration, Evidence, Measured, Take
from noiseflow.calibrate.measurements.conversion import gain_notes
from noiseflow.calibrate.measurements.unlike_frames import said_of_unlike
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.single_frame.estimate import PictureNoise
from noiseflow.calibrate.sources import Frames
from noiseflow.core.version import __version__
from noiseflow.raw import plane_names

__all__ = ["calibrate_frames"]


def calibrate_frames(frames: Frames, camera: str | None = None, sources: Sequence[str] = ()) -> Calibration:
    """Calibrate a camera from frames that were read and summed.

    Parameters
    ----------
    frames : Frames
        Frames of one camera, grouped by kind, ISO and exposure.
    camera : str, optional
        Name of the camera; by default as in the files.
    sources : sequence of str
        Names of the sources, for the provenance.

    Returns
    -------
    Calibration
        The profile, and the curves and fits behind it.

    Raises
    ------
    DataError
        Only saturated flats, or too few frames or exposures to measure anything; see `calibrate`.
    """
    settings: list[Setting] = []
    evidence: dict[tuple[float, str], Evidence] = {}
    methods: dict[str, None] = {}
    for iso in sorted({group.iso for group in frames.groups}):
        lights = [group for group in frames.groups if group.iso == iso and not group.dark]
        darks = [group for group in frames.groups if group.iso == iso and group.dark]
        pictures: dict[int, PictureNoise] = {}
        for index, plane in enumerate(plane_names(frames.layout)):
            take, found = Take(iso, plane, index, lights, darks, frames, pictures), Measured()
            for kind in FRAME_KINDS:
                if kind.present(take):
                    kind.measure(take, found)
            if "gain_dn_per_e" not in found.estimates:
                found.cautions.append("there are no flats: the gain is unknown")
            settings.append(found.setting(take))
            methods[found.method] = None
            evidence[(iso, plane)] = found.evidence
    provenance = {
        "tool": f"noiseflow calibrate {__version__}",
        "method": "; ".join(methods),
        "sources": list(sources),
        "frames": sum(len(group.sources) for group in frames.groups),
        **({"nominal_iso": True} if frames.nominal_iso else {}),
    }
    # One plane is enough for the notes on gain: all planes share the amplifier and the converter.
    first = plane_names(frames.layout)[min(1, len(plane_names(frames.layout)) - 1)]
    unlike = [words for group in frames.groups if (words := said_of_unlike(group))]
    cautions = (*frames.cautions, *unlike, *gain_notes([setting for setting in settings if setting.plane == first]))
    profile = Profile(camera or frames.camera, frames.layout, frames.white, tuple(settings), provenance, cautions)
    return Calibration(profile, evidence)

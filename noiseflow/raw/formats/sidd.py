"""Read the MAT files of SIDD: mosaics (v7.3, which is HDF5) and their metadata (v5 structs).

The reader undoes the authors' normalisation, signal = clip((DN − b) / (w − b), 0, 1) in single
precision, where b is the *first* black level in the DNG, used for all planes, and w its white
level.  MATLAB's HDF5 files store the mosaic transposed.

References
----------
Abdelhamed, Lin, Brown: A High-Quality Denoising Dataset for Smartphone Cameras, CVPR 2018;
the authors' ``run_pipeline.m`` and ``LoadRawImages.m`` (AbdoKamel/sidd-ground-truth-image-estimation).
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.hdf5 import plain_dataset
from noiseflow.raw.guards import check_size, decoding
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import BAYER_PHASES
from noiseflow.raw.settings import RawSettings

__all__ = [
    "NAME",
    "SUFFIXES",
    "SceneName",
    "SiddMetadata",
    "metadata_beside",
    "read",
    "read_metadata",
    "recognises",
    "restored",
    "scene_of",
    "signal_in_dn",
]

SUFFIXES = frozenset((".mat",))

NAME = re.compile(r"(?P<number>\d{4}_)?(?P<kind>NOISY|GT)_RAW_(?P<frame>\d{3})\.MAT", re.IGNORECASE)

SCENE = re.compile(r"(\d{4})_(\d{3})_([A-Z0-9]{2})_(\d{5})_(\d{5})_(\d{4})_([LNH])")

VERSION_5 = b"MATLAB 5.0 MAT-file"
"""First bytes of a MAT file of version 5."""

CFA_PATTERN, NOISE_PROFILE = 33422, 51041

LARGEST_RESIDUE_DN = 0.05
"""Largest median distance from whole codes.  With the right levels it is about 0.0005 DN, by single precision; with
wrong levels 0.25 DN."""


@dataclass(frozen=True)
class SiddMetadata:
    """Content of the metadata file of a frame.

    Parameters
    ----------
    cfa : str
        Bayer phase.
    black, white : float
        Levels in DN; `black` is the first in the DNG, with which all planes were normalised.
    iso, exposure_s : float or None
        ISO, and exposure time in seconds, if the file states them.
    make, model : str
        Maker and model of the camera.
    noise_profile : tuple of (float, float)
        (S, O) of each colour from DNG tag 51041, normalised variance S·signal + O; empty if absent.
    """

    cfa: str
    black: float
    white: float
    iso: float | None
    exposure_s: float | None
    make: str
    model: str
    noise_profile: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SceneName:
    """Parts of the folder name of a scene instance, such as 0001_001_S6_00100_00060_3200_L.

    Parameters
    ----------
    instance : int
        Number of the scene instance.
    scene : str
        Number of the scene.
    camera : str
        Camera code: GP, IP, S6, N6 or G4.
    iso : float
        ISO.
    exposure_s : float
        Exposure time in seconds; the name gives its inverse.
    illuminant_k : float
        Colour temperature of the illuminant in kelvin.
    brightness : str
        Exposure: L low, N normal, H high.
    """

    instance: int
    scene: str
    camera: str
    iso: float
    exposure_s: float
    illuminant_k: float
    brightness: str

    @classmethod
    def parse(cls, name: str) -> "SceneName | None":
        """Parse a folder's name; None if it does not have this form.

        Parameters
        ----------
        name : str
            Name of the folder, without its path.

        Examples
        --------
        >>> SceneName.parse("0052_002_S6_01600_01000_5500_N").exposure_s
        0.001
        """
        match = SCENE.fullmatch(name)
        if match is None or not int(match[5]):
            return None
        number, scene, camera, iso, shutter, kelvin, brightness = match.groups()
        return cls(int(number), scene, camera, float(iso), 1 / int(shutter), float(kelvin), brightness)


def scene_of(path: Path) -> SceneName | None:
    """Scene instance of a file, from the name of its folder or the folder above; None if neither is one."""
    names = (SceneName.parse(folder.name) for folder in list(path.absolute().parents)[:2])
    return next((name for name in names if name is not None), None)


def recognises(path: Path) -> bool:
    """Whether a MAT file is named like a mosaic of SIDD."""
    return NAME.fullmatch(path.name) is not None


def metadata_beside(path: Path) -> Path | None:
    """Metadata file of a mosaic: next to it (SIDD Medium) or in a sibling of its folder (Full); None if missing."""
    match = NAME.fullmatch(path.name)
    if match is None:
        return None
    start, frame = match["number"] or "", match["frame"]
    name = f"{start}METADATA_RAW_{frame}{path.suffix}"
    for folder in (path.parent, path.parent.parent / f"{start}METADATA_RAW"):
        if (folder / name).is_file():
            return folder / name
    return None


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read a noisy frame as the camera's integer codes, or a ground truth as fractional DN.

    Parameters
    ----------
    path : Path
        The MAT file.
    settings : RawSettings
        The user's settings; they override the metadata file.

    Raises
    ------
    RawError
        If the file is damaged, or neither its metadata nor the settings give the levels.
    """
    beside = metadata_beside(path)
    said = asdict(read_metadata(beside)) if beside else {}
    if settings.black is not None:
        said["black"] = settings.black[0]
    if settings.white is not None:
        said["white"] = settings.white
    if "black" not in said or "white" not in said:
        raise RawError(
            f"{path}: its metadata file is missing; expected one named …METADATA_RAW… next to it, or --cfa, --black "
            "and --white"
        )
    black, white = said.pop("black"), said.pop("white")
    scene = scene_of(path)
    if scene is not None:
        # Models of this data set name its cameras by their codes.
        said.update(make="", model=scene.camera)
        said.update(iso=said.get("iso") or scene.iso, exposure_s=said.get("exposure_s") or scene.exposure_s)
    signal = read_signal(path)
    clean = "GT" in path.name.upper()
    mosaic = signal_in_dn(signal, black, white) if clean else restored(signal, black, white, str(path))
    return settings.image(mosaic, str(path), black=(black,), white=white, **said)


def read_signal(path: Path) -> NDArray[np.float32]:
    """Signal of a MAT file in [0, 1], shape (H, W); NaN becomes 0, as in the authors' code.

    The published files have version 7.3, which is HDF5; files saved again may have version 5.
    """
    with path.open("rb") as file:
        old = file.read(len(VERSION_5)) == VERSION_5
    stored: NDArray[np.float32] = _of_version_5(path) if old else _of_version_73(path)
    np.nan_to_num(stored, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return stored


def _of_version_73(path: Path) -> NDArray[np.float32]:
    import h5py

    with decoding(path, "a MAT file of version 7.3"), h5py.File(path, "r") as file:
        name = next((name for name in file if isinstance(file.get(name), h5py.Dataset) and file[name].ndim == 2), None)
        if name is None:
            raise RawError(f"{path}: contains no 2-D array; expected the mosaic 'x'")
        # MATLAB stores columns first.
        stored: NDArray[np.float32] = np.asarray(plain_dataset(path, file[name])[()], np.float32).T
        return stored


def _of_version_5(path: Path) -> NDArray[np.float32]:
    with decoding(path, "a MAT file of version 5"):
        shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
        flat = [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1]
        if len(flat) != 1:
            raise RawError(f"{path}: expected one 2-D array, a raw frame; got {', '.join(shapes) or 'none'}")
        check_size(path, *shapes[flat[0]])
        array = scipy.io.loadmat(path, variable_names=flat)[flat[0]]
    if array.dtype.kind not in "uif":
        raise RawError(f"{path}: {flat[0]} contains values of type {array.dtype}; expected numbers")
    return np.array(array, np.float32)


def signal_in_dn(signal: NDArray[Any], black: float, white: float) -> NDArray[np.float32]:
    """Convert a signal in [0, 1] to DN, not rounded.

    Parameters
    ----------
    signal : ndarray
        Normalised signal.
    black, white : float
        Levels in DN.
    """
    dn: NDArray[np.float32] = np.multiply(signal, np.float32(white - black), dtype=np.float32)
    dn += np.float32(black)
    return dn


def restored(signal: NDArray[Any], black: float, white: float, source: str) -> NDArray[np.uint16]:
    """Restore the integer codes from which a signal was made.

    Parameters
    ----------
    signal : ndarray, shape (H, W)
        Signal in [0, 1].
    black, white : float
        Levels in DN with which it was normalised.
    source : str
        Name of the file, for messages.

    Raises
    ------
    RawError
        If these levels do not give whole codes.
    """
    dn = signal_in_dn(signal, black, white)
    sample = dn[::5, ::7]
    residue = float(np.median(np.abs(sample - np.rint(sample))))
    if residue > LARGEST_RESIDUE_DN:
        raise RawError(
            f"{source}: black {black:g} and white {white:g} do not give whole codes (median {residue:.2f} DN off); "
            "give the right ones with --black and --white"
        )
    # In place: each copy of a 16-megapixel frame takes 64 MB.
    np.rint(dn, out=dn)
    np.clip(dn, 0, 2**16 - 1, out=dn)
    return dn.astype(np.uint16)


def read_metadata(path: Path) -> SiddMetadata:
    """Read a metadata file, which is MATLAB's description of the DNG and its sub-directories.

    Parameters
    ----------
    path : Path
        The MAT file.

    Raises
    ------
    RawError
        If the file is damaged, or lacks the levels or a Bayer pattern.
    """
    with decoding(path, "a MAT file of version 5"):
        loaded = scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True, variable_names=["metadata"])
        if "metadata" not in loaded:
            raise RawError(f"{path}: contains no struct 'metadata'; expected the metadata of a SIDD frame")
        places = list(_structs(loaded["metadata"]))
        tags = {
            int(tag.ID): np.ravel(tag.Value)
            for place in places
            for tag in np.ravel(getattr(place, "UnknownTags", []))
            if hasattr(tag, "ID") and hasattr(tag, "Value")
        }
        black, white = _first(places, "BlackLevel"), _first(places, "WhiteLevel")
        cfa = "".join("RGB"[int(code)] if 0 <= code < 3 else "?" for code in tags.get(CFA_PATTERN, ()))
        cfa = _phase_of_whole_sensor(cfa, places)
        if black is None or white is None or cfa not in BAYER_PHASES:
            raise RawError(f"{path}: lacks the frame's black level, white level or 2×2 Bayer pattern")
        profile = [float(value) for value in tags.get(NOISE_PROFILE, ())]
        return SiddMetadata(
            cfa=cfa,
            black=black,
            white=white,
            iso=_first(places, "ISOSpeedRatings"),
            exposure_s=_first(places, "ExposureTime"),
            make=_text(places, "Make"),
            model=_text(places, "Model"),
            noise_profile=tuple(zip(profile[::2], profile[1::2], strict=False)),
        )


def _structs(place: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the struct of the main directory and those nested in its ``SubIFDs`` and ``DigitalCamera``."""
    if not hasattr(place, "_fieldnames") or depth > 3:
        return
    yield place
    for name in ("SubIFDs", "DigitalCamera"):
        for inner in np.ravel(np.asarray(getattr(place, name, []), dtype=object)):
            yield from _structs(inner, depth + 1)


def _phase_of_whole_sensor(cfa: str, places: list[Any]) -> str:
    """Phase at the sensor's first pixel, of a pattern that starts at the active area.

    The authors moved each crop to even rows and columns of the sensor (``GetCropArea.m``), so this is the
    phase of the mosaic.
    """
    area = next((area for place in places if (area := np.ravel(getattr(place, "ActiveArea", []))).size == 4), None)
    if len(cfa) != 4 or area is None or area.dtype.kind not in "uif" or not np.isfinite(area[:2]).all():
        return cfa
    row, column = (int(start) % 2 for start in area[:2])
    return "".join(cfa[2 * ((y + row) % 2) + (x + column) % 2] for y in (0, 1) for x in (0, 1))


def _first(places: list[Any], name: str) -> float | None:
    for place in places:
        values = np.ravel(getattr(place, name, []))
        if values.size and values.dtype.kind in "uif" and np.isfinite(float(values[0])):
            return float(values[0])
    return None


def _text(places: list[Any], name: str) -> str:
    return next((text.strip() for place in places if isinstance(text := getattr(place, name, None), str)), "")

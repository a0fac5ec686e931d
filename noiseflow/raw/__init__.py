"""Raw sensor files: reading, packing, levels, writing."""

from noiseflow.raw.bayer import BAYER_PHASES, LAYOUTS, MONO, pack, plane_names, unpack
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import READERS, Reader, is_raw, raw_files, read_raw
from noiseflow.raw.settings import RawSettings

__all__ = [
    "BAYER_PHASES",
    "LAYOUTS",
    "MONO",
    "READERS",
    "RawImage",
    "RawSettings",
    "Reader",
    "is_raw",
    "pack",
    "plane_names",
    "raw_files",
    "read_raw",
    "unpack",
]

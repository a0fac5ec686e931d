"""Raw sensor files: reading, packing, levels, writing."""

from noiseflow.raw.bayer import BAYER_PHASES, LAYOUTS, MONO, pack, plane_names, unpack
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import READERS, is_raw, read_raw

__all__ = [
    "BAYER_PHASES",
    "LAYOUTS",
    "MONO",
    "READERS",
    "RawImage",
    "is_raw",
    "pack",
    "plane_names",
    "read_raw",
    "unpack",
]

"""Raw sensor files: reading, packing, levels, writing."""

from noiseflow.raw.bayer import BAYER_PHASES, LAYOUTS, MONO, pack, plane_names, unpack
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import READERS, Reader, frame_count, is_raw, raw_files, read_clean, read_frame, read_raw
from noiseflow.raw.settings import RawSettings

__all__ = [
    "BAYER_PHASES",
    "LAYOUTS",
    "MONO",
    "READERS",
    "RawImage",
    "RawSettings",
    "Reader",
    "frame_count",
    "is_raw",
    "pack",
    "plane_names",
    "raw_files",
    "read_clean",
    "read_frame",
    "read_raw",
    "unpack",
]

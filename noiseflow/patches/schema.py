"""The content of a patch store: schema 6, or 7 where frames share their clean signal; 8 and 9 with masked pixels.

N patches of C planes, h×w pixels:

===========  ====================  ====================================================
``noisy``    (N, C, h, w) uint16   the camera's integers, DN
``clean``    (N, C, h, w) float32  clean signal in the same DN; NaN if none is known
``table``    (N,) compound         `fields`: camera, ISO, levels, split, position …
``cameras``  strings               names that ``table["camera"]`` points into
``scenes``   strings               likewise; ``scene_facts``, JSON, beside them
``sources``  strings               files, likewise; ``source_blake3`` beside them
attributes                         schema, layout, pairing, unit, provenance, truth
                                   (of simulated data), believed, fingerprint,
                                   content_blake3
===========  ====================  ====================================================

Where the clean signal of a frame is the mean of the scene's other frames, four bytes a pixel
for every frame would repeat it n times.  Schema 7 has instead of ``clean``

============  ====================  ===================================================
``mean``      (M, C, h, w) float32  mean of all frames of a scene at one place, DN
``mean_crc``  (M,) uint32           CRC-32 of each one's bytes
============  ====================  ===================================================

and the columns ``mean``, ``own``, ``gain``, ``offset`` in the table.  The clean signal of patch i is

    m = mean[table["mean"][i]]
    clean = offset + gain * (m + own * (m - noisy[i]))

with `offset` and `gain` by plane: `noiseflow.patches.shared_mean.mean_of_others`.

Schemas 8 and 9 are 6 and 7 with masked pixels: defective ones, those that moved, and those of a clean signal at which
the sensor clips.  A store without any is of schema 6 or 7.  They have in addition

============  ====================  ===================================================
``mask``      (K, ⌈C·h·w/8⌉) uint8  one bit a pixel, 1 where it is masked, the highest
                                    bit of a byte first; of the K patches with any
============  ====================  ===================================================

and the column ``mask`` in the table: 0 for a patch without a masked pixel, else 1 more than its row of ``mask``.

``noisy`` and ``clean`` are contiguous and not compressed: HDF5 says where they begin, and
patches are read straight from the page cache.  ``table["crc32"]`` replaces HDF5's own
checksum, which only chunks have.

The attribute ``content_blake3`` is a checksum of all but the pixels: the table, the names, the
means' checksums and the attributes.

Schemas 4 and 5 are 6 and 7 without that attribute: they are less protected.  Schemas 2 and 3 are 4
and 5 with ``source_sha256``, SHA-256 of the files, in the place of ``source_blake3``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from noiseflow.raw.bayer import plane_names
from noiseflow.raw.patterns import CFAS

__all__ = [
    "CFAS",
    "CHECKSUMS",
    "CLEAN_TYPE",
    "CONTENT",
    "CRC_TYPE",
    "LABELS",
    "MASKED",
    "MASK_TYPE",
    "NOISY_TYPE",
    "PIXELS_OF",
    "READABLE",
    "SCHEMA",
    "SHARED",
    "SHARED_MASKED",
    "SPLITS",
    "Schema",
    "StoreHeader",
    "agreed_truth",
    "fields",
    "mask_bytes",
]

SCHEMA, SHARED, MASKED, SHARED_MASKED = 6, 7, 8, 9
CHECKSUMS = "source_blake3"
CONTENT = "content_blake3"
"""Attribute that holds the checksum of all but the pixels."""

PIXELS_OF = ("noisy", "clean", "mean", "mask")
"""Datasets of patches, which the CRC-32 of each patch or mean protects."""


@dataclass(frozen=True)
class Schema:
    """A schema that can be read.

    Parameters
    ----------
    shared : bool
        Whether frames share their clean signal.
    checksums : str
        Name of the dataset of the files' checksums.
    protected : bool
        Whether it has a checksum of all but the pixels.
    masked : bool
        Whether pixels are masked.
    """

    shared: bool
    checksums: str = CHECKSUMS
    protected: bool = False
    masked: bool = False


READABLE = {
    2: Schema(False, "source_sha256"),
    3: Schema(True, "source_sha256"),
    4: Schema(False),
    5: Schema(True),
    SCHEMA: Schema(False, protected=True),
    SHARED: Schema(True, protected=True),
    MASKED: Schema(False, protected=True, masked=True),
    SHARED_MASKED: Schema(True, protected=True, masked=True),
}
"""Schemas that can be read, by number."""

SPLITS = ("train", "val", "test")
LABELS = ("cameras", "scenes", "sources")

NOISY_TYPE, CLEAN_TYPE, CRC_TYPE, MASK_TYPE = np.dtype("<u2"), np.dtype("<f4"), np.dtype("<u4"), np.dtype("u1")


@dataclass(frozen=True)
class StoreHeader:
    """Facts that hold for all patches of a store.

    Parameters
    ----------
    layout : str
        Plane layout.
    patch_size : int
        Height and width of a patch, in pixels of a plane.
    pairing : str
        A name in `noiseflow.patches.pairings.PAIRINGS`.
    provenance : mapping
        Tool version, arguments and checksums, JSON-able.
    truth : mapping
        Parameters of the simulated cameras, by name.
    believed : sequence of (str, str, str)
        Facts that the ingest believed: what, its value, and where it was taken from.
    """

    layout: str
    patch_size: int
    pairing: str
    provenance: Mapping[str, Any]
    truth: Mapping[str, Any] = field(default_factory=dict)
    believed: Sequence[tuple[str, str, str]] = ()

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        return len(plane_names(self.layout)), self.patch_size, self.patch_size


def mask_bytes(patch_shape: tuple[int, ...]) -> int:
    """Bytes of a patch's mask, one bit a pixel."""
    return -(-int(np.prod(patch_shape)) // 8)


def fields(planes: int, shared: bool = False, masked: bool = False) -> np.dtype[Any]:
    """The columns of a store's table.

    ``camera``, ``scene`` and ``source`` index the lists of names; ``frame`` counts the
    frames of a scene; ``y``, ``x`` are the patch's corner in pixels of a plane; ``split``
    indexes `SPLITS`; ``black`` (per plane) and ``white`` are levels in DN;
    ``cfa`` indexes `CFAS`, the phase of the sensor;
    ``clean_variance`` is the variance of the clean estimate as a fraction of the noise
    variance: 0 for a clean twin, 1/(n − 1) for the mean of the n − 1 other frames;
    ``crc32`` is the CRC-32 of the patch's bytes in ``noisy`` followed by those in ``clean`` and in ``mask``.

    Parameters
    ----------
    planes : int
        Number of planes, C.
    shared : bool
        Adds ``mean``, a row of the dataset of that name, and how the clean signal is computed from
        it: ``own``, and ``gain`` and ``offset`` (DN) per plane.
    masked : bool
        Adds ``mask``, 1 more than a row of the dataset of that name; 0 where no pixel is masked.
    """
    columns: list[Any] = [
        ("camera", "u2"),
        ("iso", "f4"),
        ("scene", "u4"),
        ("frame", "u4"),
        ("source", "u4"),
        ("y", "u4"),
        ("x", "u4"),
        ("split", "u1"),
        ("black", "f4", (planes,)),
        ("white", "f4"),
        ("cfa", "u1"),
        ("clean_variance", "f4"),
        ("crc32", "u4"),
    ]
    if shared:
        columns += [("mean", "u4"), ("own", "f4"), ("gain", "f4", (planes,)), ("offset", "f4", (planes,))]
    if masked:
        columns += [("mask", "u4")]
    return np.dtype(columns)


def agreed_truth(truths: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One truth per simulated camera, over the ISOs of all sources; none where they contradict each other.

    Parameters
    ----------
    truths : sequence of mapping
        Of each source: camera → physics, where lists run over its ``isos`` and other values hold for all of them.
    """
    agreed: dict[str, Any] = {}
    for camera in dict.fromkeys(camera for truth in truths for camera in truth):
        known = [truth[camera] for truth in truths if camera in truth]
        fixed = [{name: value for name, value in each.items() if not isinstance(value, list)} for each in known]
        by_iso = [_by_iso(each) for each in known]
        rows = {iso: row for each in by_iso for iso, row in each.items()}
        same = all(rows[iso] == row for each in by_iso for iso, row in each.items())
        if same and all(each == fixed[0] for each in fixed):
            isos = sorted(rows)
            agreed[camera] = {**fixed[0], **{name: [rows[iso][name] for iso in isos] for name in rows[isos[0]]}}
    return agreed


def _by_iso(truth: Mapping[str, Any]) -> dict[float, dict[str, Any]]:
    columns = {name: values for name, values in truth.items() if isinstance(values, list)}
    return {iso: {name: values[index] for name, values in columns.items()} for index, iso in enumerate(columns["isos"])}

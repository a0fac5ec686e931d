"""The format of a patch store: schema 6, schema 7 if frames share their clean signal, 8 and 9 with masked pixels.

A store of N patches with C planes of h×w pixels contains:

===========  ====================  ====================================================
``noisy``    (N, C, h, w) uint16   the camera's integer codes, DN
``clean``    (N, C, h, w) float32  clean signal in the same DN; NaN if unknown
``table``    (N,) compound         `fields`: camera, ISO, levels, split, position …
``cameras``  strings               names indexed by ``table["camera"]``
``scenes``   strings               names indexed by ``table["scene"]``; their facts are
                                   in ``scene_facts``, as JSON
``sources``  strings               files indexed by ``table["source"]``; their checksums
                                   are in ``source_blake3``
attributes                         schema, layout, pairing, unit, provenance, truth
                                   (of simulated data), believed, fingerprint,
                                   content_blake3, sealed
===========  ====================  ====================================================

If the clean signal of a frame is the mean of the scene's other frames, storing it for each of n
frames would repeat nearly the same data n times.  Schema 7 replaces ``clean`` by

============  ====================  ===================================================
``mean``      (M, C, h, w) float32  mean of all frames of a scene at one position, DN
``mean_crc``  (M,) uint32           CRC-32 of the bytes of each mean
============  ====================  ===================================================

and the columns ``mean``, ``own``, ``gain``, ``offset`` in the table.  The clean signal of patch i is

    m = mean[table["mean"][i]]
    clean = offset + gain * (m + own * (m - noisy[i]))

with `offset` and `gain` per plane: see `noiseflow.patches.shared_mean.mean_of_others`.

Schemas 8 and 9 are 6 and 7 with masked pixels: defective, moving, or with a clean signal at which the sensor clips.
A store without masked pixels has schema 6 or 7.  Schemas 8 and 9 add

============  ====================  ===================================================
``mask``      (K, ⌈C·h·w/8⌉) uint8  masks of the K patches with masked pixels: one bit
                                    per pixel, 1 if masked, highest bit of a byte first
============  ====================  ===================================================

and the column ``mask`` in the table: 0 for a patch without masked pixels, otherwise 1 + its row in ``mask``.

``noisy`` and ``clean`` are contiguous and not compressed, so that patches can be read directly from
the page cache at the offset that HDF5 gives.  ``table["crc32"]`` replaces HDF5's checksums, which
exist only for chunked datasets.

The attribute ``content_blake3`` is a checksum of everything except the pixels: the table, the names,
the checksums of the means, and the attributes.  A store with the attribute ``sealed`` ends with a mark, which the
HDF5 library cuts off when it opens the file for writing: see `noiseflow.core.output.ends`.

Schemas 4 and 5 are 6 and 7 without that attribute, so they are less protected.  Schemas 2 and 3 are 4
and 5 with SHA-256 checksums of the files, ``source_sha256``, instead of ``source_blake3``.
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
"""Attribute with the checksum of everything except the pixels."""

PIXELS_OF = ("noisy", "clean", "mean", "mask")
"""Datasets with pixels, which are protected by the CRC-32 of each patch or mean."""


@dataclass(frozen=True)
class Schema:
    """Properties of a schema.

    Parameters
    ----------
    shared : bool
        Whether frames share their clean signal.
    checksums : str
        Name of the dataset with the checksums of the source files.
    protected : bool
        Whether there is a checksum of everything except the pixels.
    masked : bool
        Whether there are masked pixels.
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
"""Version → schema, for all that can be read."""

SPLITS = ("train", "val", "test")
LABELS = ("cameras", "scenes", "sources")

NOISY_TYPE, CLEAN_TYPE, CRC_TYPE, MASK_TYPE = np.dtype("<u2"), np.dtype("<f4"), np.dtype("<u4"), np.dtype("u1")


@dataclass(frozen=True)
class StoreHeader:
    """Facts that apply to all patches of a store.

    Parameters
    ----------
    layout : str
        Plane layout.
    patch_size : int
        Height and width of a patch in pixels of a plane.
    pairing : str
        A name in `noiseflow.patches.pairings.PAIRINGS`.
    provenance : mapping
        Tool version, arguments and checksums, JSON-able.
    truth : mapping
        Parameters of simulated cameras, by name.
    believed : sequence of (str, str, str)
        Facts that the ingest used: name, value, and source.
    """

    layout: str
    patch_size: int
    pairing: str
    provenance: Mapping[str, Any]
    truth: Mapping[str, Any] = field(default_factory=dict)
    believed: Sequence[tuple[str, str, str]] = ()

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """Shape (C, h, w) of a patch."""
        return len(plane_names(self.layout)), self.patch_size, self.patch_size


def mask_bytes(patch_shape: tuple[int, ...]) -> int:
    """Size in bytes of a patch's mask, one bit per pixel."""
    return -(-int(np.prod(patch_shape)) // 8)


def fields(planes: int, shared: bool = False, masked: bool = False) -> np.dtype[Any]:
    """Columns of a store's table.

    ``camera``, ``scene`` and ``source`` are indices into the lists of names; ``frame`` is the number
    of the frame in its scene; ``y``, ``x`` are the patch's corner in pixels of a plane; ``split``
    is an index into `SPLITS`; ``black`` (per plane) and ``white`` are levels in DN; ``cfa`` is an index into
    `CFAS`; ``clean_variance`` is the variance of the clean signal's error as a fraction of the noise
    variance: 0 for a clean twin, 1/(n − 1) for the mean of the n − 1 other frames;
    ``crc32`` is the CRC-32 of the patch's bytes in ``noisy`` followed by those in ``clean`` and in ``mask``.

    Parameters
    ----------
    planes : int
        Number of planes, C.
    shared : bool
        Add the columns for a shared clean signal: ``mean``, a row of the dataset ``mean``; ``own``; and
        ``gain`` and ``offset`` (DN) per plane.
    masked : bool
        Add ``mask``: 1 + a row of the dataset ``mask``, or 0 if no pixel is masked.
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
    """Merge the true parameters of simulated cameras over the ISOs of several sources.

    Cameras on which sources contradict each other are left out.

    Parameters
    ----------
    truths : sequence of mapping
        For each source: camera → parameters.  Lists have one value for each of its ``isos``; other values apply to
        all ISOs.
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

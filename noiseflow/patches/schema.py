"""What a patch store holds, by name: schema 2.

N patches of C planes, h×w pixels:

===========  ====================  ====================================================
``noisy``    (N, C, h, w) uint16   the camera's integers, DN
``clean``    (N, C, h, w) float32  clean signal in the same DN; NaN if none is known
``table``    (N,) compound         `fields`: camera, ISO, levels, split, position …
``cameras``  strings               names that ``table["camera"]`` points into
``scenes``   strings               likewise; ``scene_facts``, JSON, beside them
``sources``  strings               files, likewise; ``source_sha256`` beside them
attributes                         schema, layout, pairing, unit, provenance, truth
                                   (of simulated data), fingerprint
===========  ====================  ====================================================

``noisy`` and ``clean`` are contiguous and not compressed: HDF5 says where they begin, and
patches are then read straight from the page cache.  ``table["crc32"]`` stands in for the
checksum that HDF5 keeps for chunks only.
"""

from typing import Any

import numpy as np

from noiseflow.raw.bayer import BAYER_PHASES, MONO

__all__ = ["CFAS", "CLEAN_TYPE", "LABELS", "NOISY_TYPE", "PARTIAL", "SCHEMA", "SPLITS", "fields"]

SCHEMA = 2
CFAS = (*BAYER_PHASES, MONO)
SPLITS = ("train", "val", "test")
LABELS = ("cameras", "scenes", "sources")
PARTIAL = ".partial"
"""What is added to a store's name for the folder that it is made in."""

NOISY_TYPE, CLEAN_TYPE = np.dtype("<u2"), np.dtype("<f4")


def fields(planes: int) -> np.dtype[Any]:
    """The columns of a store's table.

    ``camera``, ``scene`` and ``source`` index the lists of names; ``frame`` counts the
    frames of a scene; ``y``, ``x`` are the patch's corner in pixels of a plane; ``split``
    indexes `SPLITS`; ``black`` (per plane) and ``white`` are levels in DN;
    ``cfa`` indexes `CFAS`, the phase of the sensor;
    ``clean_variance`` is the variance of the clean estimate as a fraction of the noise
    variance: 0 for a clean twin, 1/(n − 1) for the mean of the n − 1 other frames;
    ``crc32`` is that of the patch's bytes in ``noisy``, gone on with those in ``clean``.
    """
    return np.dtype(
        [
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
    )

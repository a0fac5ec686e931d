"""What is true of all patches of a store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noiseflow.raw.bayer import plane_names

__all__ = ["StoreHeader"]


@dataclass(frozen=True)
class StoreHeader:
    """What is true of all patches of a store.

    Parameters
    ----------
    layout : str
        Plane layout.
    patch_size : int
        Height and width of a patch, in pixels of a plane.
    pairing : str
        A name in `noiseflow.patches.pairings.PAIRINGS`.
    provenance : mapping
        JSON-able: tool version, arguments, checksums.
    truth : mapping
        Parameters of the simulated cameras, by name.
    """

    layout: str
    patch_size: int
    pairing: str
    provenance: Mapping[str, Any]
    truth: Mapping[str, Any] = field(default_factory=dict)

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        return len(plane_names(self.layout)), self.patch_size, self.patch_size

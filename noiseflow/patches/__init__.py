"""Pairs of noisy and clean patches, and the HDF5 store that holds them."""

from noiseflow.patches.ingest import IngestOptions, IngestResult, ingest
from noiseflow.patches.pairings import PAIRINGS
from noiseflow.patches.scenes import SOURCES, collect
from noiseflow.patches.store import SPLITS, PatchBatch, PatchStore, StoreWriter

__all__ = [
    "PAIRINGS",
    "SOURCES",
    "SPLITS",
    "IngestOptions",
    "IngestResult",
    "PatchBatch",
    "PatchStore",
    "StoreWriter",
    "collect",
    "ingest",
]

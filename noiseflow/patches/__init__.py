"""Pairs of noisy and clean patches, and the HDF5 store that holds them."""

from typing import TYPE_CHECKING

from noiseflow.lazy import on_demand

if TYPE_CHECKING:
    from noiseflow.patches.dataset import PatchDataset, PatchStream, View
    from noiseflow.patches.ingestion import ingest
    from noiseflow.patches.mix import StoreMix
    from noiseflow.patches.options import IngestOptions, IngestResult
    from noiseflow.patches.pairings import PAIRINGS
    from noiseflow.patches.schema import SPLITS
    from noiseflow.patches.selection import WithoutIsos
    from noiseflow.patches.sources import SOURCES, collect
    from noiseflow.patches.store import PatchBatch, PatchStore
    from noiseflow.patches.writer import StoreWriter

__all__ = [
    "PAIRINGS",
    "SOURCES",
    "SPLITS",
    "IngestOptions",
    "IngestResult",
    "PatchBatch",
    "PatchDataset",
    "PatchStore",
    "PatchStream",
    "StoreMix",
    "StoreWriter",
    "View",
    "WithoutIsos",
    "collect",
    "ingest",
]

_HOME = {
    "View": "dataset",
    "WithoutIsos": "selection",
    "StoreMix": "mix",
    "PatchStream": "dataset",
    "PatchDataset": "dataset",
    "PAIRINGS": "pairings",
    "SOURCES": "sources",
    "SPLITS": "schema",
    "IngestOptions": "options",
    "IngestResult": "options",
    "PatchBatch": "store",
    "PatchStore": "store",
    "StoreWriter": "writer",
    "collect": "sources",
    "ingest": "ingestion",
}

# A worker process of an ingest needs no torch, which takes 200 MB and two seconds.
__getattr__ = on_demand(__name__, _HOME)

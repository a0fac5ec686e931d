"""Pairs of noisy and clean patches, and the HDF5 store that holds them."""

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    # A worker process of an ingest needs no torch, which takes 200 MB and two seconds.
    if name not in _HOME:
        raise AttributeError(f"module 'noiseflow.patches' has no attribute {name!r}")
    return getattr(importlib.import_module(f"noiseflow.patches.{_HOME[name]}"), name)

"""Pairs of noisy and clean patches, and the HDF5 store that holds them."""

from noiseflow.patches.store import SPLITS, PatchBatch, PatchStore, StoreWriter

__all__ = ["SPLITS", "PatchBatch", "PatchStore", "StoreWriter"]

"""Summary of a patch store, as text."""

from typing import TYPE_CHECKING

from noiseflow.patches.schema import SPLITS

if TYPE_CHECKING:
    from noiseflow.patches.store.store import PatchStore

__all__ = ["summary"]


def summary(store: "PatchStore") -> dict[str, str]:
    """Summarise a store: label → text.

    Parameters
    ----------
    store : PatchStore
        The store, open or closed.
    """
    counts = {split: int((store.table["split"] == index).sum()) for index, split in enumerate(SPLITS)}
    planes, height, width = store.patch_shape
    return {
        "patches": f"{len(store):,} of {planes}×{height}×{width} ({store.layout})",
        "splits": ", ".join(f"{count:,} {split}" for split, count in counts.items()),
        "pairing": store.pairing,
        "cameras": ", ".join(store.cameras),
        "ISO": ", ".join(f"{iso:g}" for iso in store.isos),
        "sources": f"{len(store.sources)} files, {len(store.scenes)} scenes",
        "made by": str(store.provenance.get("tool", "unknown")),
        "fingerprint": store.fingerprint[:16],
    }

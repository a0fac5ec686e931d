from .assembly.writer import StoreWriter as StoreWriter
from .ingestion.ingestion import ingest as ingest
from .options import IngestOptions as IngestOptions, IngestResult as IngestResult
from .pairings import PAIRINGS as PAIRINGS
from .schema import SPLITS as SPLITS
from .sources import SOURCES as SOURCES, collect as collect
from .store.dataset import PatchDataset as PatchDataset, PatchStream as PatchStream, View as View
from .store.mixture import StoreMix as StoreMix
from .store.patches import PatchBatch as PatchBatch, Patches as Patches
from .store.selection import WithoutIsos as WithoutIsos
from .store.store import PatchStore as PatchStore

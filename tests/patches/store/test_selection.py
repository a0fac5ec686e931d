"""A store without some ISOs: the rows that a fit sees, and no others."""

from pathlib import Path

import numpy as np
import pytest

from noiseflow.core.errors import StoreError
from noiseflow.fit.batches import gather, train_and_held_out
from noiseflow.patches import IngestOptions, PatchStore, WithoutIsos, ingest
from noiseflow.simulate import simulate


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selection")
    simulate(folder / "raws", "PG-12", [100, 400, 1600], scenes=10, size=(64, 64))
    ingest([folder / "raws"], folder / "patches.h5", IngestOptions(patch_size=16))
    return folder / "patches.h5"


def test_an_iso_left_out_is_in_no_batch_split_statistic_or_hold_out(path: Path) -> None:
    with PatchStore(path) as store:
        view = WithoutIsos(store, [400])
        assert view.isos == (100.0, 1600.0)
        assert len(view) == int((store.table["iso"] != 400).sum())
        for split in ("train", "test"):
            rows = view.indices(split)
            kept = store.indices(split)
            np.testing.assert_array_equal(rows, kept[store.table["iso"][kept] != 400])
            assert all(400 not in batch.iso.tolist() for batch in view.batches(split))
        for rows in train_and_held_out(view, 100, 0):
            assert not (store.table["iso"][rows] == 400).any()
        assert gather(view).isos == (100.0, 1600.0)
        assert view.fingerprint != store.fingerprint


def test_what_is_not_there_or_would_leave_nothing_is_refused(path: Path) -> None:
    with PatchStore(path) as store:
        with pytest.raises(StoreError, match="has no ISO 200 to leave out; it has 100, 400, 1600"):
            WithoutIsos(store, [200])
        with pytest.raises(StoreError, match="leaves no patch; keep one of 100, 400, 1600"):
            WithoutIsos(store, [100, 400, 1600])

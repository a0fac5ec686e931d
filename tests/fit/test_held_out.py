"""What a fit trains on and what it judges by."""

from pathlib import Path

import numpy as np
import pytest
from builders import gaussian_store

from noiseflow.core.errors import StoreError
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.batches import train_and_held_out
from noiseflow.patches import PatchStore
from noiseflow.patches.schema import SPLITS


def without_val(path: Path, patches: int = 200) -> PatchStore:
    store = gaussian_store(path, patches=patches)
    store.table["split"][store.table["split"] == SPLITS.index("val")] = SPLITS.index("train")
    return store


def test_the_split_val_is_held_out_where_there_is_one(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=200) as store:
        train, held_out = train_and_held_out(store, 15, seed=0)
        assert train.tolist() == store.indices("train").tolist()
        assert len(held_out) == 15
        assert set(held_out) <= set(store.indices("val"))


def test_whole_scenes_are_held_out_where_none_is_published(tmp_path: Path) -> None:
    with without_val(tmp_path / "s.h5") as store:
        train, held_out = train_and_held_out(store, 9999, seed=0)
        assert sorted([*train, *held_out]) == store.indices("train").tolist()
        assert len(held_out)
        assert not set(store.table["scene"][train]) & set(store.table["scene"][held_out])


def test_one_frame_leaves_nothing_to_hold_out(tmp_path: Path) -> None:
    with without_val(tmp_path / "s.h5") as store:
        store.table["scene"] = 0
        with pytest.raises(StoreError, match="no patch in the split 'val'"):
            train_and_held_out(store, 10, seed=0)
        store.table["frame"] = np.arange(len(store)) % 4
        train, held_out = train_and_held_out(store, 9999, seed=0)
        assert not set(store.table["frame"][train]) & set(store.table["frame"][held_out])


def test_a_fit_to_a_published_split_without_val(tmp_path: Path) -> None:
    with without_val(tmp_path / "s.h5") as store:
        settings = FitSettings(epochs=1, steps_per_epoch=1, batch=16)
        result = fit(store, spec_for(store, "noise_flow"), tmp_path / "run", settings)
    assert np.isfinite(result.best_nll)

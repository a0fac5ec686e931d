"""Data sets over stores: the same whatever reads them."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import gaussian_store
from torch.utils.data import DataLoader

from noiseflow.core.errors import DataError, StoreError
from noiseflow.patches import PatchDataset, PatchStore, PatchStream, StoreMix, View
from noiseflow.patches.store.augmentation import FLIPS, TURNS, turned
from noiseflow.patches.store.sampling_order import balanced
from noiseflow.raw.bayer import BAYER_PHASES, MONO, pack


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    return gaussian_store(tmp_path_factory.mktemp("s") / "s.h5", patches=300, isos=(100.0, 400.0), cameras=("A", "B"))


VIEW = View(crop=6, turns=FLIPS)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_a_batch_is_the_same_for_any_number_of_workers(store: PatchStore) -> None:
    stream = PatchStream(store, batch=16, view=VIEW, seed=3, epochs=range(2))
    alone = list(stream)
    assert len(alone) == 2 * (240 // 16)
    for workers in (1, 3):
        loaded = list(DataLoader(stream, batch_size=None, num_workers=workers))
        assert len(loaded) == len(alone)
        for one, other in zip(alone, loaded, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)


def test_ranks_share_the_batch_of_one(store: PatchStore) -> None:
    whole = PatchStream(store, batch=12, view=VIEW, epochs=range(1))
    parts = [PatchStream(store, batch=12, view=VIEW, epochs=range(1), rank=rank, world=3) for rank in range(3)]
    for batch, *shares in zip(whole, *parts, strict=True):
        for name in batch:
            assert torch.equal(batch[name], torch.cat([share[name] for share in shares]))


def test_an_epoch_has_each_patch_once_and_the_next_another_order(store: PatchStore) -> None:
    rows = [torch.cat([batch["row"] for batch in PatchStream(store, batch=16, epochs=range(k, k + 1))]) for k in (0, 1)]
    assert sorted(rows[0].tolist()) == sorted(rows[1].tolist()) == store.indices("train").tolist()
    assert rows[0].tolist() != rows[1].tolist()


def test_a_stream_without_end_goes_on_after_its_epoch(store: PatchStore) -> None:
    assert sum(1 for _ in islice(PatchStream(store, batch=120), 5)) == 5


def test_items_are_what_the_store_holds(store: PatchStore) -> None:
    data = PatchDataset(store, "test")
    batch = store.read(store.indices("test"))
    assert len(data) == 30
    for number in (0, 7, 29):
        assert torch.equal(data[number]["noise"], batch.noise[number])
        assert torch.equal(data[number]["iso"], batch.iso[number])
    loaded = next(iter(DataLoader(data, batch_size=30, num_workers=2)))
    assert torch.equal(loaded["clean"], batch.clean)


def test_views_of_a_data_set_hang_on_the_epoch_alone(store: PatchStore) -> None:
    data = PatchDataset(store, "train", VIEW, seed=1)
    first = data[5]["noise"]
    assert first.shape == (4, 6, 6)
    assert torch.equal(first, data.__getitems__([9, 5])[1]["noise"])
    seen = []
    for epoch in range(8):
        data.set_epoch(epoch)
        seen.append(data[5]["noise"])
    assert any(not torch.equal(first, other) for other in seen)
    data.set_epoch(0)
    assert torch.equal(first, data[5]["noise"])


def test_balance_draws_each_iso_equally_often(tmp_path: Path) -> None:
    store = gaussian_store(tmp_path / "u.h5", patches=400, isos=(100.0,) * 7 + (800.0,))
    isos = torch.cat([batch["iso"] for batch in PatchStream(store, batch=32, balance="iso", epochs=range(20))])
    # 6,400 draws of two sorts: standard error 0.00625; five of them.
    assert float((isos == 800).float().mean()) == pytest.approx(0.5, abs=0.031)
    assert balanced(store.table, "camera").sum() == pytest.approx(1)


def test_bad_arguments(store: PatchStore) -> None:
    with pytest.raises(DataError, match="less than one batch of 999"):
        PatchStream(store, batch=999)
    with pytest.raises(DataError, match="a batch that is a multiple of"):
        PatchStream(store, batch=10, world=3)
    with pytest.raises(DataError, match="balance 'lens'"):
        PatchStream(store, batch=10, balance="lens")
    with pytest.raises(DataError, match="crop 9: patches have only 8×8"):
        PatchDataset(store, view=View(crop=9))[0]
    with pytest.raises(DataError, match="at least one row and column smaller"):
        PatchDataset(store, view=View(crop=8, turns=("columns",)))[0]


@pytest.mark.parametrize("cfa", BAYER_PHASES)
@pytest.mark.parametrize("turn", TURNS)
def test_every_pixel_keeps_its_colour_and_its_neighbours(cfa: str, turn: str) -> None:
    rows, columns = np.mgrid[:12, :16]
    where = np.stack([rows, columns], -1)
    colours = np.array(list(cfa)).reshape(2, 2)[rows % 2, columns % 2]
    place = rows * 16 + columns
    planes = turned(pack(place, cfa), turn, cfa, (4, 4))
    found = where[planes // 16, planes % 16]
    for plane, colour in zip(planes, "RGGB", strict=True):
        assert set(colours[plane // 16, plane % 16].ravel()) == {colour}
    # The step from one cell to the next below is the same throughout, two pixels along one axis.
    for axis in (1, 2):
        steps = {tuple(step) for step in np.diff(found, axis=axis).reshape(-1, 2).tolist()}
        assert len(steps) == 1
        assert sorted(np.abs(steps.pop())) == [0, 2]
    # Green on red's row stays beside red, in the turned mosaic's own sense of a row.
    beside = found[1] - found[0]
    assert len({tuple(step) for step in beside.reshape(-1, 2).tolist()}) == 1
    assert np.abs(beside).sum(-1).max() == 1


def test_a_monochrome_patch_turns_as_it_is() -> None:
    patch = np.arange(12).reshape(1, 3, 4)
    assert turned(patch, "rows", MONO, (3, 4))[0, 0].tolist() == [8, 9, 10, 11]
    assert turned(patch, "transposed", MONO, (4, 3))[0, :, 0].tolist() == [0, 1, 2, 3]


def test_a_mix_reads_what_its_stores_hold(tmp_path: Path) -> None:
    a = gaussian_store(tmp_path / "a.h5", patches=40, seed=1, cameras=("X", "Y"))
    b = gaussian_store(tmp_path / "b.h5", patches=30, seed=2, cameras=("Y", "Z"))
    mix = StoreMix([a, b])
    assert (len(mix), mix.cameras, len(mix.indices("train"))) == (70, ("X", "Y", "Z"), 32 + 24)
    rows = np.array([45, 3, 69, 0])
    batch = mix.read(rows)
    assert torch.equal(batch.noise[0], b.read(np.array([5])).noise[0])
    assert torch.equal(batch.clean[1], a.read(np.array([3])).clean[0])
    named = [mix.cameras[index] for index in batch.camera.tolist()]
    assert named == ["Z", "Y", "Z", "X"]
    assert StoreMix([a, b]).fingerprint == mix.fingerprint != StoreMix([b, a]).fingerprint


def test_weights_share_the_draws_among_stores(tmp_path: Path) -> None:
    a = gaussian_store(tmp_path / "a.h5", patches=400, seed=1)
    b = gaussian_store(tmp_path / "b.h5", patches=40, seed=2)
    mix = StoreMix([a, b], (1.0, 3.0))
    rows = torch.cat([batch["row"] for batch in PatchStream(mix, batch=32, epochs=range(20))])
    # 7,040 draws: standard error 0.0052; five of them.
    assert float((rows >= 400).float().mean()) == pytest.approx(0.75, abs=0.026)


def test_stores_that_do_not_mix(tmp_path: Path) -> None:
    a = gaussian_store(tmp_path / "a.h5", patches=20)
    with pytest.raises(StoreError, match="expected one number of at least 0 for each of 2 stores"):
        StoreMix([a, a], (1.0,))
    with pytest.raises(StoreError, match="split 'tarin' is not known"):
        StoreMix([a, a]).indices("tarin")

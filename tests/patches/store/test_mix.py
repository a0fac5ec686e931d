"""Stores of several schemas, layouts and patch sizes in one fit: read alike, or refused in one clear line."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from builders import burst_folder, gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.core.errors import DataError, StoreError
from noiseflow.patches import IngestOptions, PatchStore, StoreMix, ingest
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import CONTENT, SCHEMA, SHARED, fields
from noiseflow.patches.store.dataset import PatchStream
from noiseflow.patches.store.store import SCRATCH_BYTES
from noiseflow.raw.bayer import plane_names


def burst(folder: Path) -> PatchStore:
    """A store of schema 5, patches of 4×8×8."""
    burst_folder(folder / "raws", frames=4, size=(64, 64), seed=0)
    ingest([folder / "raws"], folder / "burst.h5", IngestOptions(patch_size=8))
    return PatchStore(folder / "burst.h5")


def made(path: Path, layout: str, size: int) -> Path:
    """A store of a layout, of ten patches."""
    planes = len(plane_names(layout))
    table = np.zeros(10, fields(planes))
    table["iso"], table["black"], table["white"] = 100.0, 64.0, 1023.0
    with StoreWriter(path, layout=layout, patch_size=size, pairing="gt", provenance={}) as writer:
        for kind in ("cameras", "scenes", "sources"):
            writer.label(kind, "made")
        writer.append(np.full((10, planes, size, size), 100), np.full((10, planes, size, size), 90.0), table)
    return path


def older(path: Path) -> PatchStore:
    """A store as it was before its sources' checksums were BLAKE3, and all but its pixels had none."""
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = file.attrs["schema"] - 4
        del file.attrs[CONTENT]
        file.move("source_blake3", "source_sha256")
    return PatchStore(path)


@pytest.mark.parametrize("kind", ["burst", "twins"])
def test_a_store_of_an_older_schema_is_read_checked_and_mixed(tmp_path: Path, kind: str) -> None:
    made = burst(tmp_path) if kind == "burst" else gaussian_store(tmp_path / "twins.h5", patches=50)
    rows = np.random.default_rng(0).permutation(len(made))
    expected, checksums, path = made.read(rows), made.source_checksums, made.path
    made.close()
    store = older(path)
    assert store.source_checksums == checksums
    found = store.read(rows)
    assert torch.equal(found.noise, expected.noise)
    assert torch.equal(found.clean, expected.clean)
    told = CliRunner().invoke(main, ["info", str(path), "--verify"])
    assert told.exit_code == 0, told.output
    assert "only the pixels have checksums" in told.output
    other = gaussian_store(tmp_path / "other.h5", patches=20)
    mixed = StoreMix([store, other]).read(np.array([len(store), 0]))
    assert torch.equal(mixed.noise[1], store.read(np.array([0])).noise[0])
    assert torch.equal(mixed.noise[0], other.read(np.array([0])).noise[0])


@pytest.mark.parametrize("first", ["burst", "twins"])
def test_schemas_mix_in_either_order(tmp_path: Path, first: str) -> None:
    stores = [burst(tmp_path), gaussian_store(tmp_path / "twins.h5", patches=50)]
    assert [SHARED if "mean" in (store.table.dtype.names or ()) else SCHEMA for store in stores] == [7, 6]
    if first == "twins":
        stores.reverse()
    mix = StoreMix(stores, (1.0, 2.0))
    rows = np.random.default_rng(0).permutation(len(mix))
    batch = mix.read(rows, torch.float64)
    names = [mix.cameras[index] for index in batch.camera.tolist()]
    for place, row in enumerate(rows.tolist()):
        store, own = (stores[0], row) if row < len(stores[0]) else (stores[1], row - len(stores[0]))
        alone = store.read(np.array([own]), torch.float64)
        assert torch.equal(batch.noise[place], alone.noise[0])
        assert torch.equal(batch.clean[place], alone.clean[0])
        assert batch.iso[place] == alone.iso[0]
        assert names[place] == store.cameras[int(alone.camera[0])]
    drawn = torch.cat([each["row"] for each in PatchStream(mix, batch=32, epochs=range(30))])
    # A third of the draws is the first store's: within five standard errors.
    part = float((drawn < len(stores[0])).double().mean())
    assert part == pytest.approx(1 / 3, abs=5 * (2 / 9 / len(drawn)) ** 0.5)


@pytest.mark.parametrize(
    ("layout", "size", "told"),
    [
        ("mono", 8, r"mono patches of \(1, 8, 8\)"),
        ("mono2x2", 8, r"mono2x2 patches of \(4, 8, 8\)"),
        ("bayer", 16, r"bayer patches of \(4, 16, 16\)"),
    ],
)
def test_other_layouts_and_sizes_are_refused_in_one_line(tmp_path: Path, layout: str, size: int, told: str) -> None:
    bayer, other = made(tmp_path / "bayer.h5", "bayer", 8), made(tmp_path / "other.h5", layout, size)
    with pytest.raises(StoreError, match=rf"other\.h5: contains {told}, but .*bayer.* has bayer patches"):
        StoreMix([PatchStore(bayer), PatchStore(other)])
    result = CliRunner().invoke(main, ["fit", str(bayer), str(other), "--model", "nlf", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "with the same options to mix them" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_large_batch_is_its_patches(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for store in (burst(tmp_path), gaussian_store(tmp_path / "twins.h5", patches=300)):
        rows = rng.integers(-len(store), len(store), 3 * SCRATCH_BYTES // (4 * 8 * 8 * 4) + 7)
        noisy, clean = store.codes(rows)
        table = store.table[rows]
        black, spread = table["black"][:, :, None, None], np.sqrt(1 + table["clean_variance"])[:, None, None, None]
        scale = table["white"][:, None, None, None] - black.astype(np.float64)
        batch = store.read(rows, torch.float64)
        assert np.allclose(batch.noise, (noisy - clean.astype(np.float64)) / scale / spread, rtol=1e-6, atol=1e-12)
        assert np.allclose(batch.clean, (clean - black.astype(np.float64)) / scale, rtol=1e-12)
        with pytest.raises(IndexError):
            store.read(np.array([0, len(store)]))


def test_threads_read_beside_each_other(tmp_path: Path) -> None:
    store = burst(tmp_path)
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, len(store), 64) for _ in range(64)]
    expected = [store.read(rows).noise for rows in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: store.read(rows).noise, batches * 4))
    assert all(torch.equal(a, b) for a, b in zip(found, expected * 4, strict=True))


def test_the_weights_of_a_mixture_are_the_stores_whatever_their_sizes(tmp_path: Path) -> None:
    stores = [gaussian_store(tmp_path / f"{size}.h5", patches=size, seed=size) for size in (10, 40, 20)]
    mix = StoreMix(stores, [1.0, 3.0, 0.0])
    rows = np.random.default_rng(0).permutation(len(mix))
    weights = mix.weights(rows)
    assert weights is not None
    which = np.searchsorted([10, 50, 70], rows, side="right")
    assert [float(weights[which == store].sum()) for store in range(3)] == pytest.approx([1.0, 3.0, 0.0])
    for store, size in ((0, 10), (1, 40)):
        assert weights[which == store] == pytest.approx([1.0, 3.0][store] / size)
    # Of some rows, as of a split, what is left of a store has all of its weight.
    some = mix.weights(np.array([9, 10, 49]))
    assert some is not None
    assert some.tolist() == pytest.approx([1.0, 1.5, 1.5])
    assert StoreMix(stores).weights(rows) is None
    with pytest.raises(DataError, match="weight 0"):
        mix.weights(np.array([50, 69]))
    for bad in ([1.0, 2.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]):
        with pytest.raises(StoreError, match="weights"):
            StoreMix(stores, bad)

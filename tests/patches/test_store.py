import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from builders import burst_folder, gaussian_store
from simulated_scenes import pairs

from noiseflow.core.errors import DataError, OutputError, StoreError
from noiseflow.core.output.checks import PARTIAL
from noiseflow.patches import IngestOptions, StoreMix, collect, ingest
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields
from noiseflow.patches.store.store import PatchStore


def write(path: Path, *, clean: float = 110.0, noisy: int = 140, variance: float = 0.0, **options: object) -> None:
    known = {"layout": "bayer", "patch_size": 2, "pairing": "gt", "provenance": {"tool": "test"}, **options}
    with StoreWriter(path, **known) as writer:  # type: ignore[arg-type]
        table = np.zeros(1, fields(4))
        table["camera"] = writer.label("cameras", "One")
        table["iso"], table["black"], table["white"], table["clean_variance"] = (
            100,
            [[100, 100, 100, 60]],
            1100,
            variance,
        )
        writer.append(np.full((1, 4, 2, 2), noisy), np.full((1, 4, 2, 2), clean), table)


def test_values_are_normalised_per_plane_and_the_clean_variance_taken_out(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", variance=0.25)
    with PatchStore(tmp_path / "s.h5") as store:
        batch = store.read(np.array([0, 0]))
    assert batch.noise[1, :, 0, 0].tolist() == pytest.approx([30 / 1000 / 1.25**0.5] * 3 + [30 / 1040 / 1.25**0.5])
    assert batch.clean[0, :, 0, 0].tolist() == pytest.approx([0.01] * 3 + [50 / 1040])


def test_order_and_repeats_of_rows_are_kept(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=20) as store:
        rows = np.array([7, 3, 3, 19])
        together = store.read(rows)
        for place, row in enumerate(rows):
            assert torch.equal(together.noise[place], store.read(np.array([row])).noise[0])


def test_a_store_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"

    def stopped_half_way() -> None:
        with StoreWriter(path, layout="bayer", patch_size=2, pairing="gt", provenance={}) as writer:
            writer.append(np.ones((1, 4, 2, 2)), np.ones((1, 4, 2, 2)), np.zeros(1, fields(4)))
            assert not path.exists()
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped_half_way()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_ingest_leaves_is_refused(tmp_path: Path) -> None:
    partial = tmp_path / f"s.h5{PARTIAL}"
    partial.mkdir()
    for path in (partial, tmp_path / "s.h5"):
        with pytest.raises(StoreError, match="was left by an ingest that was stopped: ingest again to continue"):
            PatchStore(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_store_is_refused(tmp_path: Path, keep: float) -> None:
    gaussian_store(tmp_path / "s.h5", patches=20).close()
    content = (tmp_path / "s.h5").read_bytes()
    (tmp_path / "s.h5").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(StoreError, match="ingest again"):
        PatchStore(tmp_path / "s.h5")


def test_a_store_cut_off_while_it_is_open_says_so(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=20) as store:
        store.read(np.arange(20))
        os.truncate(tmp_path / "s.h5", 4096)
        with pytest.raises(StoreError, match=r"became shorter while it was open \(4,096 of .* bytes\); ingest again"):
            store.read(np.arange(20))


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = gaussian_store(tmp_path / "s.h5", patches=20)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.read(np.arange(20))


def test_other_files_are_refused_by_what_they_are(tmp_path: Path) -> None:
    h5py.File(tmp_path / "other.h5", "w").close()
    (tmp_path / "text.h5").write_text("no HDF5")
    write(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "a") as file:
        file.attrs["schema"] = 99
    for name, message in (
        ("other.h5", "not a patch store"),
        ("text.h5", "not a readable HDF5"),
        ("old.h5", "schema 99"),
    ):
        with pytest.raises(StoreError, match=message):
            PatchStore(tmp_path / name)


def test_a_damaged_patch_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", noisy=0x5A5A)
    content = bytearray((tmp_path / "s.h5").read_bytes())
    content[content.index(b"\x5a\x5a" * 16)] ^= 1
    (tmp_path / "s.h5").write_bytes(content)
    with PatchStore(tmp_path / "s.h5") as store, pytest.raises(StoreError, match="patch 0: its checksum differs"):
        store.read(np.array([0]))
    with PatchStore(tmp_path / "s.h5") as store, pytest.raises(StoreError, match="patch 0: its checksum differs"):
        store.verify()


def test_nan_and_missing_clean_signals_are_errors(tmp_path: Path) -> None:
    write(tmp_path / "nan.h5", clean=np.nan)
    write(tmp_path / "none.h5", clean=np.nan, pairing="none")
    with PatchStore(tmp_path / "nan.h5") as store, pytest.raises(DataError, match=r"nan\.h5: NaN .* patches \[0\]"):
        store.read(np.array([0]))
    with PatchStore(tmp_path / "none.h5") as store, pytest.raises(DataError, match="without a clean signal"):
        store.read(np.array([0]))


def test_overwriting_is_asked_for_and_empty_stores_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "s.h5")
    with pytest.raises(OutputError, match="--overwrite"):
        write(tmp_path / "s.h5")
    write(tmp_path / "s.h5", overwrite=True)
    with (
        pytest.raises(StoreError, match="no patches to store"),
        StoreWriter(tmp_path / "t.h5", layout="bayer", patch_size=2, pairing="gt", provenance={}),
    ):
        pass
    with PatchStore(tmp_path / "s.h5") as store, pytest.raises(StoreError, match="no patch in the split 'val'"):
        store.indices("val")


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    for name, noisy in (("a", 1), ("b", 1), ("c", 2)):
        write(tmp_path / name, noisy=noisy)
    prints = [PatchStore(tmp_path / name).fingerprint for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def test_float64_is_exact_and_float32_close(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=30) as store:
        rows = np.arange(30)
        noisy, clean = store.codes(rows)
        expected = (noisy.astype(float) - clean) / 10_000
        exact, close = store.read(rows, torch.float64), store.read(rows)
    assert np.allclose(exact.noise.numpy(), expected, rtol=1e-15, atol=0)
    # One rounding of the scale and one of the product, each 2⁻²⁴.
    assert np.allclose(close.noise.numpy(), expected, rtol=2e-7, atol=0)


def test_a_store_goes_to_another_process_by_its_name(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=5) as store:
        again = pickle.loads(pickle.dumps(store))
        assert torch.equal(again.read(np.arange(5)).noise, store.read(np.arange(5)).noise)


def test_hdf5_itself_reads_the_patches(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=12) as store, h5py.File(tmp_path / "s.h5") as file:
        noisy, clean = store.codes(np.arange(12))
        assert np.array_equal(file["noisy"][:], noisy)
        assert np.array_equal(file["clean"][:], clean)


def test_a_burst_is_stored_by_its_mean_and_read_as_its_pairing_says(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=5, size=(72, 88), seed=0, drift=3.0)
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8, patches_per_frame=6))
    (scene,) = collect(tmp_path / "raws").scenes
    made = {pair.number: pair for pair in pairs("burst", scene)[1]}
    with PatchStore(tmp_path / "s.h5") as store, h5py.File(tmp_path / "s.h5") as file:
        noisy, clean = store.codes(np.arange(len(store)))
        assert "clean" not in file
        # Fewer means than patches: one a place, whichever frames have a patch there.
        assert len(file["mean"]) == len(np.unique(store.table[["y", "x"]])) < len(store)
        for row, patch, found in zip(file["table"][:], noisy, clean, strict=True):
            pair = made[int(row["frame"])]
            y, x = int(row["y"]), int(row["x"])
            assert np.array_equal(patch, pair.noisy.planes()[:, y : y + 8, x : x + 8])
            assert np.array_equal(found, pair.clean[:, y : y + 8, x : x + 8])
            mean = file["mean"][row["mean"]]
            told = row["offset"][:, None, None] + row["gain"][:, None, None] * (mean + row["own"] * (mean - patch))
            assert np.allclose(told, found, rtol=1e-6)


def test_a_damaged_mean_is_noticed(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["mean"][3, 0, 0, 0] += 1
    with PatchStore(tmp_path / "s.h5") as store, pytest.raises(StoreError, match="mean 3: its checksum differs"):
        store.verify()


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_burst_is_refused(tmp_path: Path, keep: float) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    os.truncate(tmp_path / "s.h5", int(keep * (tmp_path / "s.h5").stat().st_size))
    with pytest.raises(StoreError, match="ingest again"):
        PatchStore(tmp_path / "s.h5")


def test_a_burst_mixes_with_a_store_of_another_schema(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    with PatchStore(tmp_path / "s.h5") as burst, gaussian_store(tmp_path / "g.h5", patches=20) as other:
        mixed = StoreMix([burst, other])
        both = mixed.read(np.array([0, len(burst)]))
        assert torch.equal(both.noise[0], burst.read(np.array([0])).noise[0])
        assert torch.equal(both.noise[1], other.read(np.array([0])).noise[0])


@pytest.mark.parametrize("size", [1, 7, 20, 1000])
def test_batches_are_the_split_in_order(tmp_path: Path, size: int) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=40) as store:
        whole = store.read(store.indices("train"))
        parts = list(store.batches("train", size))
        assert [len(part.noise) for part in parts[:-1]] == [size] * (len(parts) - 1)
        assert 1 <= len(parts[-1].noise) <= size
        for name in ("noise", "clean", "iso", "camera"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))

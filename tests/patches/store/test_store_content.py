"""A store's file that lies: every change is found, and nothing outside the file is followed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders import burst_folder, gaussian_store
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.core.errors import StoreError
from noiseflow.patches import IngestOptions, PatchStore, StoreMix, ingest
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import CONTENT, MASKED, SCHEMA, fields
from noiseflow.patches.store.augmentation import FLIPS
from noiseflow.patches.store.dataset import View


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store of frames with a clean signal each, and one of a burst."""
    folder = tmp_path_factory.mktemp("stores")
    gaussian_store(folder / "twins.h5", patches=20).close()
    burst_folder(folder / "raws", frames=3, size=(64, 64), seed=0)
    ingest([folder / "raws"], folder / "burst.h5", IngestOptions(patch_size=8))
    return {"twins": folder / "twins.h5", "burst": folder / "burst.h5"}


def refused(path: Path, match: str) -> None:
    with pytest.raises(StoreError, match=match):
        PatchStore(path)


COLUMNS = ("camera", "iso", "scene", "frame", "source", "y", "x", "split", "black", "white", "cfa", "clean_variance")
SHARED_COLUMNS = ("mean", "own", "gain", "offset")


@pytest.mark.parametrize(
    ("kind", "column"),
    [*(("twins", column) for column in COLUMNS), *(("burst", column) for column in (*COLUMNS, *SHARED_COLUMNS))],
)
def test_a_changed_column_of_the_table_is_found(
    stores: dict[str, Path], tmp_path: Path, kind: str, column: str
) -> None:
    path = Path(shutil.copy(stores[kind], tmp_path / "s.h5"))
    with h5py.File(path, "r+") as file:
        table = file["table"][:]
        bits = table.view(np.uint8).reshape(len(table), -1)
        bits[1, table.dtype.fields[column][1]] ^= 1
        file["table"][:] = table
    refused(path, "differ from their checksum|its table has a")
    told = CliRunner().invoke(main, ["info", str(path), "--verify"])
    assert told.exit_code == 1


@pytest.mark.parametrize("kind", ["twins", "burst"])
def test_a_changed_name_fact_or_attribute_is_found(stores: dict[str, Path], tmp_path: Path, kind: str) -> None:
    with h5py.File(stores[kind]) as file:
        lists = [name for name in file if file[name].dtype.kind == "O" and len(file[name])]
        attributes = [name for name in file.attrs if name not in ("schema", "unit")]
    assert {"cameras", "scenes", "sources", "scene_facts", "source_blake3"} == set(lists)
    for name in lists:
        path = Path(shutil.copy(stores[kind], tmp_path / "s.h5"))
        with h5py.File(path, "r+") as file:
            file[name][0] = b'{"a": 1}'
        refused(path, "differ from their checksum")
    for name in attributes:
        path = Path(shutil.copy(stores[kind], tmp_path / "s.h5"))
        with h5py.File(path, "r+") as file:
            value = str(file.attrs[name])
            file.attrs[name] = "mono2x2" if name == "layout" else value + " "
        refused(path, "differ from their checksum")


def test_a_store_without_its_checksum_is_refused(stores: dict[str, Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(stores["twins"], tmp_path / "s.h5"))
    with h5py.File(path, "r+") as file:
        del file.attrs[CONTENT]
    refused(path, "differ from their checksum")


@pytest.mark.parametrize("kind", ["twins", "burst"])
def test_an_older_store_opens_and_says_that_it_is_less_protected(
    stores: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    path = Path(shutil.copy(stores[kind], tmp_path / "s.h5"))
    with h5py.File(path, "r+") as file:
        del file.attrs[CONTENT], file.attrs["believed"]
        file.attrs["schema"] = file.attrs["schema"] - 2
    with PatchStore(stores[kind]) as new, PatchStore(path) as store:
        assert (new.protected, store.protected) == (True, False)
        assert np.array_equal(store.codes(np.arange(5))[1], new.codes(np.arange(5))[1])
        assert store.believed == []
    told = CliRunner().invoke(main, ["info", str(path), "--verify"])
    assert "only the pixels have checksums" in told.output


@pytest.mark.parametrize("believed", ['[["ISO", "100"]]', '["ISO"]', '[["ISO", "100", 3]]', "[[1, 2, 3, 4]]"])
def test_what_an_older_store_believed_is_a_fact_a_value_and_a_source(
    stores: dict[str, Path], tmp_path: Path, believed: str
) -> None:
    path = Path(shutil.copy(stores["twins"], tmp_path / "s.h5"))
    with h5py.File(path, "r+") as file:
        del file.attrs[CONTENT]
        file.attrs["schema"] = file.attrs["schema"] - 2
        file.attrs["believed"] = believed
    refused(path, "expected a fact, its value and its source")


def linked(file: h5py.File) -> None:
    file["other"] = file["clean"]
    del file["clean"]
    file["clean"] = h5py.SoftLink("/other")


def outside(file: h5py.File) -> None:
    del file["table"]
    file["table"] = h5py.ExternalLink("other.h5", "/table")


def virtual(file: h5py.File) -> None:
    shape, dtype = file["clean"].shape, file["clean"].dtype
    del file["clean"]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource("other.h5", "clean", shape)
    file.create_virtual_dataset("clean", layout)


def external(file: h5py.File) -> None:
    shape, dtype = file["clean"].shape, file["clean"].dtype
    del file["clean"]
    file.create_dataset("clean", shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def packed(file: h5py.File) -> None:
    clean = file["clean"][:]
    del file["clean"]
    file.create_dataset("clean", data=clean, compression="gzip")


def huge(file: h5py.File) -> None:
    dtype = file["table"].dtype
    del file["table"]
    file.create_dataset("table", (1 << 33,), dtype)


def group(file: h5py.File) -> None:
    del file["cameras"]
    file.create_group("cameras")


def of_floats(file: h5py.File) -> None:
    noisy = file["noisy"][:].astype("f4")
    del file["noisy"]
    file["noisy"] = noisy


def of_other_size(file: h5py.File) -> None:
    clean = file["clean"][:, :, :4]
    del file["clean"]
    file["clean"] = clean


def unit_of_lists(file: h5py.File) -> None:
    file.attrs["unit"] = np.zeros(3)


def unit_of_nothing(file: h5py.File) -> None:
    file.attrs["unit"] = np.zeros(0)


@pytest.mark.parametrize(
    "change",
    [
        linked,
        outside,
        virtual,
        external,
        packed,
        huge,
        group,
        of_floats,
        of_other_size,
        unit_of_lists,
        unit_of_nothing,
    ],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("schema", [4, 6])
def test_what_no_ingest_writes_is_not_followed(
    stores: dict[str, Path], tmp_path: Path, change: Callable[[h5py.File], None], schema: int
) -> None:
    path = Path(shutil.copy(stores["twins"], tmp_path / "s.h5"))
    shutil.copy(stores["twins"], tmp_path / "other.h5")
    with h5py.File(path, "r+") as file:
        change(file)
        if schema == 4:
            del file.attrs[CONTENT]
            file.attrs["schema"] = 4
    refused(path, "damaged patch store .*expected|damaged patch store .*bytes of|its signal is in")


def test_mutated_stores_raise_no_foreign_error(stores: dict[str, Path], tmp_path: Path) -> None:
    """Bit flips outside the pixels: found, or the store reads as before."""
    rng = np.random.default_rng(0)
    for kind, original in stores.items():
        content = original.read_bytes()
        with PatchStore(original) as store, h5py.File(original) as file:
            start, size = file["noisy"].id.get_offset(), file["noisy"].id.get_storage_size()
            expected = store.codes(np.arange(len(store)))
        places = [at for at in rng.integers(0, len(content), 400) if not start <= at < start + size][:150]
        found = 0
        for at in places:
            changed = bytearray(content)
            changed[at] ^= 1 << int(rng.integers(8))
            path = tmp_path / f"{kind}.h5"
            path.write_bytes(changed)
            try:
                with PatchStore(path) as store:
                    codes = store.codes(np.arange(len(store)))
                    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(codes, expected, strict=True))
            except StoreError:
                found += 1
        assert found > 0


def masked_store(path: Path, seed: int = 0, parts: int = 3) -> np.ndarray:
    """A store of which some patches have masked pixels; returns the masks."""
    rng = np.random.default_rng(seed)
    masks = rng.random((parts, 4, 4, 3, 3)) < 0.02
    masks[0] = False
    with StoreWriter(path, layout="bayer", patch_size=3, pairing="gt", provenance={}) as writer:
        for mask in masks:
            table = np.zeros(len(mask), fields(4))
            table["camera"], table["iso"], table["white"] = writer.label("cameras", "One"), 100, 1000
            table["scene"], table["source"] = writer.label("scenes", "a"), writer.source("a.dng", "0")
            writer.append(rng.integers(0, 1000, mask.shape), rng.random(mask.shape), table, mask)
    return masks.reshape(-1, 4, 3, 3)


def test_masks_are_read_as_they_were_written(tmp_path: Path) -> None:
    masks = masked_store(tmp_path / "s.h5")
    rows = np.array([11, 0, 5, 5, 9])
    with PatchStore(tmp_path / "s.h5") as store:
        store.verify()
        batch = store.read(rows)
        assert batch.observed is not None
        np.testing.assert_array_equal(~batch.observed.numpy(), masks[rows])
        assert store.read(np.arange(4)).observed is None
    with h5py.File(tmp_path / "s.h5") as file:
        assert (file.attrs["schema"], file["mask"].shape) == (MASKED, (int(masks.any((1, 2, 3)).sum()), 5))
    mix = StoreMix([PatchStore(tmp_path / "s.h5")] * 2)
    both = mix.read(np.array([0, 12 + 11])).observed
    assert both is not None
    np.testing.assert_array_equal(~both.numpy(), masks[[0, 11]])


def test_data_sets_turn_masks_with_their_patches(tmp_path: Path) -> None:
    masks = masked_store(tmp_path / "s.h5")
    with PatchStore(tmp_path / "s.h5") as store:
        items = View(2, FLIPS)(store, np.arange(12), 0, 0)
        plain = View()(store, np.arange(12), 0, 0)
        np.testing.assert_array_equal(~plain["observed"].numpy(), masks)
        # A pixel's mask goes where its noise goes: noise of distinct values finds it.
        flat = {float(value): bool(mask) for value, mask in zip(plain["noise"].flatten(), masks.ravel(), strict=True)}
        seen = zip(items["noise"].flatten().tolist(), (~items["observed"]).flatten().tolist(), strict=True)
        assert all(flat[value] == mask for value, mask in seen)


def test_a_store_without_a_masked_pixel_has_the_schema_of_before(tmp_path: Path) -> None:
    masked_store(tmp_path / "s.h5", parts=1)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["schema"] == SCHEMA
        assert "mask" not in file
        assert "mask" not in file["table"].dtype.names
    with PatchStore(tmp_path / "s.h5") as store:
        assert store.read(np.arange(4)).observed is None


def test_a_changed_mask_is_found(tmp_path: Path) -> None:
    masks = masked_store(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["mask"][0, 2] ^= 1
    with PatchStore(tmp_path / "s.h5") as store, pytest.raises(StoreError, match="checksum"):
        store.read(np.flatnonzero(masks.any((1, 2, 3)))[:1])
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file["mask"]
    refused(tmp_path / "s.h5", "damaged")

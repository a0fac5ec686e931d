"""A store's patches as WebDataset shards."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseflow.core.errors import DataError, OutputError, StoreError
from noiseflow.patches import PatchStore
from noiseflow.patches.store.shards import DESCRIPTION, export_shards
from tests.project.builders import gaussian_store


@pytest.fixture
def store(tmp_path: Path) -> PatchStore:
    return gaussian_store(tmp_path / "p.h5", patches=50, isos=(100.0, 400.0), cameras=("One", "Two"))


def samples(path: Path) -> dict[str, dict[str, Any]]:
    """As WebDataset reads a tar file: what comes before the first dot is the sample, what follows the field."""
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as shard:
        for member in shard:
            name, field = member.name.split(".", 1)
            file = shard.extractfile(member)
            assert file is not None
            content = file.read()
            value = json.loads(content) if field == "json" else np.load(io.BytesIO(content), allow_pickle=False)
            found.setdefault(name, {})[field] = value
    return found


def test_every_patch_is_in_one_shard_as_the_store_reads_it(store: PatchStore, tmp_path: Path) -> None:
    counts = export_shards(store, tmp_path / "shards", per_shard=15)
    assert counts == {"train": 40, "val": 5, "test": 5}
    files = sorted(path.name for path in (tmp_path / "shards").glob("*.tar"))
    assert files == ["test-000000.tar", *(f"train-00000{number}.tar" for number in range(3)), "val-000000.tar"]
    seen: list[int] = []
    for file in files:
        split = file.split("-")[0]
        for name, sample in samples(tmp_path / "shards" / file).items():
            row = int(name)
            seen.append(row)
            batch = store.read(np.array([row]))
            assert row in store.indices(split)
            np.testing.assert_array_equal(sample["noise.npy"], batch.noise[0].numpy())
            np.testing.assert_array_equal(sample["clean.npy"], batch.clean[0].numpy())
            assert sample["json"] == {
                "iso": float(batch.iso[0]),
                "camera": store.cameras[int(batch.camera[0])],
                "scene": store.scenes[int(batch.table["scene"][0])],
            }
    assert sorted(seen) == list(range(50))
    assert seen != sorted(seen)
    about = json.loads((tmp_path / "shards" / DESCRIPTION).read_text())
    assert about["patches"] == counts
    assert about["store"] == store.fingerprint


def test_equal_stores_and_seeds_give_equal_bytes(store: PatchStore, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        export_shards(store, tmp_path / name, seed=seed)
    one, two, other = ((tmp_path / name / "train-000000.tar").read_bytes() for name in "abc")
    assert one == two
    assert one != other


def test_what_it_refuses(store: PatchStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="per_shard: expected 1 or more; got 0"):
        export_shards(store, tmp_path / "shards", per_shard=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.dng").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"photo\.dng"):
        export_shards(store, tmp_path / "mine", overwrite=True)
    export_shards(store, tmp_path / "shards")
    with pytest.raises(OutputError, match="shards"):
        export_shards(store, tmp_path / "shards")
    export_shards(store, tmp_path / "shards", overwrite=True)


def test_a_store_without_clean_signal_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = gaussian_store(tmp_path / "p.h5", patches=20)

    def no_clean(*_: Any, **__: Any) -> Any:
        raise DataError("no clean signal")

    monkeypatch.setattr(store, "read", no_clean)
    with pytest.raises(DataError, match="no clean signal"):
        export_shards(store, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()

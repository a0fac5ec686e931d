"""A table that lies under a checksum that fits: its indices are compared with what there is."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from noiseflow.core.errors import StoreError
from noiseflow.patches.store.store import PatchStore
from tools.readers.own_kinds import KINDS
from tools.readers.resealed import reseal


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store of a burst, whose patches share their means."""
    return (KINDS["store"](tmp_path_factory.mktemp("sealed") / "store").folder / "p.h5").read_bytes()


@pytest.mark.parametrize(
    ("column", "value"),
    [("mean", None), ("camera", None), ("scene", None), ("source", None), ("iso", np.nan), ("white", np.inf)],
)
def test_an_index_beyond_its_list_or_a_level_that_is_no_number_is_refused(
    made: bytes, tmp_path: Path, column: str, value: float | None
) -> None:
    path = tmp_path / "p.h5"
    path.write_bytes(made)
    with h5py.File(path, "r+") as file:
        table = file["table"][:]
        table[column][1] = np.iinfo(table[column].dtype).max if value is None else value
        file["table"][:] = table
    reseal(tmp_path, "p.h5")
    with pytest.raises(StoreError, match=f"its table has an? {column}"):
        PatchStore(path)


def test_the_same_table_sealed_again_is_read(made: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.h5").write_bytes(made)
    reseal(tmp_path, "p.h5")
    with PatchStore(tmp_path / "p.h5") as store:
        store.verify()

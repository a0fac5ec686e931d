"""Patches that are written to their place in the store at once, and what becomes of them when that is stopped."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders import burst_folder

from noiseflow.core.output.checks import PARTIAL
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.assembly.parts import PIXELS
from noiseflow.patches.assembly.store_assembly import _number_means
from noiseflow.patches.assembly.unfinished import patches_before, record_count, store_file
from noiseflow.patches.ingestion import tasks

SIZE = (256, 192)
"""Enough for a frame to be placed."""


def left_before_the_end(raws: Path, out: Path, options: IngestOptions, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an ingest that is stopped when all frames are cut."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("noiseflow.patches.assembly.store_assembly.assemble", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest([raws], out, options, jobs=1)
    return out.with_name(out.name + PARTIAL)


@pytest.mark.parametrize("pairing", ["none", "burst", "noisy-pair"])
@pytest.mark.parametrize("few", [False, True])
def test_placed_or_copied_the_store_is_the_same(
    tmp_path: Path, pairing: str, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst_folder(tmp_path / "raws", frames=5, size=SIZE, seed=0)
    # So few that HDF5 puts them elsewhere than it puts many: they are copied.
    options = IngestOptions(pairing=pairing, patch_size=4 if few else 8, patches_per_frame=2 if few else None)
    folder = left_before_the_end(tmp_path / "raws", tmp_path / "placed.h5", options, monkeypatch)
    assert bool(list(folder.glob("part-*.noisy"))) == few
    assert few or store_file(folder).stat().st_size > PIXELS
    ingest([tmp_path / "raws"], tmp_path / "placed.h5", options)
    monkeypatch.setattr(tasks, "PLACED_PIXELS", 10**9)
    folder = left_before_the_end(tmp_path / "raws", tmp_path / "copied.h5", options, monkeypatch)
    assert list(folder.glob("part-*.noisy"))
    assert not store_file(folder).exists()
    ingest([tmp_path / "raws"], tmp_path / "copied.h5", options)
    assert (tmp_path / "placed.h5").read_bytes() == (tmp_path / "copied.h5").read_bytes()
    with PatchStore(tmp_path / "placed.h5") as store:
        store.verify()


@pytest.mark.parametrize("pairing", ["none", "burst", "noisy-pair"])
@pytest.mark.parametrize("lost", ["pixels", "end"])
def test_placed_patches_that_a_crash_of_the_machine_took_are_made_again(
    tmp_path: Path, pairing: str, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst_folder(tmp_path / "raws", frames=5, size=SIZE, seed=0)
    options = IngestOptions(pairing=pairing, patch_size=8)
    ingest([tmp_path / "raws"], tmp_path / "whole.h5", options)
    folder = left_before_the_end(tmp_path / "raws", tmp_path / "s.h5", options, monkeypatch)
    with store_file(folder).open("r+b") as file:
        if lost == "end":
            file.truncate(PIXELS + 4096)
        else:
            # A block of the second frame that never reached the disk reads as zeros.
            file.seek(PIXELS + 98304 + 4096)
            file.write(bytes(4096))
    count = len(list(folder.glob("part-*.json")))
    assert ingest([tmp_path / "raws"], tmp_path / "s.h5", options).resumed == (count - 1 if lost == "pixels" else 0)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_the_place_of_a_part_is_known_from_the_counts_of_those_before(tmp_path: Path) -> None:
    record_count(tmp_path, 1, 10)
    assert patches_before(tmp_path, 0) == 0
    assert patches_before(tmp_path, 1) is None
    assert patches_before(tmp_path, 2) is None
    record_count(tmp_path, 0, 0)
    assert patches_before(tmp_path, 1) == 0
    assert patches_before(tmp_path, 2) == 10
    record_count(tmp_path, 3, 7)
    assert patches_before(tmp_path, 4) is None
    record_count(tmp_path, 2, 5)
    assert patches_before(tmp_path, 4) == 22
    # As a crash of the machine may leave it.
    (tmp_path / "counts").write_bytes(b"")
    assert patches_before(tmp_path, 4) is None


def test_a_part_waits_for_the_one_before_if_it_alone_is_missing(tmp_path: Path) -> None:
    record_count(tmp_path, 0, 5)
    writer = threading.Timer(0.1, record_count, (tmp_path, 1, 10))
    writer.start()
    assert patches_before(tmp_path, 2, patience_s=10.0) == 15
    writer.join()
    began = time.monotonic()
    assert patches_before(tmp_path, 9, patience_s=10.0) is None
    assert time.monotonic() - began < 5.0


def test_patches_of_a_scene_at_one_place_have_one_mean_and_no_others() -> None:
    """Two scenes, of the parts 0 and 2, and 1 and 3; every frame of a scene is cut at some of the same places."""
    places = [[(0, 0), (0, 16), (16, 0)], [(0, 0), (32, 8)], [(0, 16), (16, 0)], [(32, 8), (0, 0), (0, 40)]]
    table = np.zeros(sum(map(len, places)), [("y", "i4"), ("x", "i4"), ("mean", "i8")])
    table["y"], table["x"] = np.array([place for part in places for place in part]).T
    starts = np.cumsum([0, *map(len, places)])
    means = [SimpleNamespace(parts=(0, 2)), SimpleNamespace(parts=(1, 3))]
    corners = _number_means(table, starts, means)  # type: ignore[arg-type]
    assert [each.tolist() for each in corners] == [[[0, 0], [0, 16], [16, 0]], [[0, 0], [0, 40], [32, 8]]]
    assert table["mean"].tolist() == [0, 1, 2, 3, 5, 1, 2, 5, 3, 4]

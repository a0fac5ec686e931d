"""What can go wrong while patches are taken: killed, disk full, files that change, files that repeat."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import burst_folder, frame
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.core.errors import NoiseflowError, OutputError, RawError, StoreError
from noiseflow.core.output.checks import PARTIAL
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.assembly.parts import PartNote
from noiseflow.patches.assembly.unfinished import list_parts
from noiseflow.patches.ingestion import ingestion, tasks
from noiseflow.patches.ingestion.tasks import cut_frames

ROUNDS = 20


def run_script(body: str, *arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, where it may fork and be killed."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


KILLED = """
    import os, random, signal, sys, time
    from pathlib import Path
    from noiseflow.core.errors import OutputError
    from noiseflow.patches import ingest, IngestOptions

    raws, folder, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    options = IngestOptions(patch_size=8, patches_per_frame=300)
    # The first imports what the others then have.
    ingest([raws], folder / "whole.h5", options)
    began = time.monotonic()
    ingest([raws], folder / "whole.h5", options, overwrite=True)
    duration = time.monotonic() - began
    whole = (folder / "whole.h5").read_bytes()
    moments = random.Random(0)
    stopped = gone_on = 0
    for number in range(rounds):
        out = folder / f"{number}.h5"
        child = os.fork()
        if child == 0:
            ingest([raws], out, options)
            os._exit(0)
        # A child takes longer, and finishes frames late: half of the moments lie there besides.
        time.sleep(moments.uniform(0.6 * duration if number % 2 else 0, 1.4 * duration))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if out.exists():
            assert out.read_bytes() == whole, "a store that was there was not whole"
            try:
                # Refused, but what the kill left beside it goes.
                ingest([raws], out, options)
            except OutputError:
                pass
        else:
            stopped += 1
            gone_on += ingest([raws], out, options).resumed > 0
            assert out.read_bytes() == whole, "the store differs"
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["whole.h5", *(f"{k}.h5" for k in range(number + 1))]
        )
    print(stopped, gone_on)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("size", [(128, 128), (256, 128)], ids=["copied", "placed"])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path: Path, size: tuple[int, int]) -> None:
    burst_folder(tmp_path / "raws", frames=12, size=size, seed=0)
    (tmp_path / "stores").mkdir()
    found = run_script(KILLED, tmp_path / "raws", tmp_path / "stores", ROUNDS)
    assert found.returncode == 0, found.stderr
    stopped, gone_on = map(int, found.stdout.split())
    # Some must fall where frames are finished.
    assert stopped >= ROUNDS // 4
    assert gone_on >= 1


def test_processes_make_the_same_store(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws" / "a", frames=5, size=(64, 96), seed=0)
    burst_folder(tmp_path / "raws" / "b", frames=4, size=(64, 96), seed=1)
    options = IngestOptions(patch_size=8)
    for jobs in (1, 2):
        ingest([tmp_path / "raws"], tmp_path / f"{jobs}.h5", options, jobs=jobs)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


def test_other_options_do_not_go_on_with_what_was_left(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    left = tmp_path / f"s.h5{PARTIAL}"
    left.mkdir()
    (left / "plan.json").write_text("of another")
    list_parts(left)
    with pytest.raises(StoreError, match=r"other sources or options.*--overwrite"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8), overwrite=True)
    assert not left.exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["store.h5", "part-000001.json", "plan.json", "scene-000000.npy"])
def test_files_of_the_users_with_names_of_ours_are_left_alone(tmp_path: Path, name: str, overwrite: bool) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    mine = tmp_path / f"s.h5{PARTIAL}" / name
    mine.parent.mkdir()
    mine.write_text("dear")
    with pytest.raises(OutputError, match="has no list of files written by noiseflow"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8), overwrite=overwrite)
    assert mine.read_text() == "dear"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_that_name_that_no_ingest_made_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    mine = tmp_path / f"s.h5{PARTIAL}" / "letters.txt"
    mine.parent.mkdir()
    mine.write_text("dear")
    with pytest.raises(OutputError, match=r"letters\.txt.*move it away"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8), overwrite=overwrite)
    assert mine.read_text() == "dear"
    mine.unlink()
    # Empty, as a kill between two steps leaves it.
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))


def test_a_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    (tmp_path / f"s.h5{PARTIAL}").write_text("of an older version")
    with pytest.raises(OutputError, match="is a file; expected the name of a folder"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    burst_folder(tmp_path / "raws", frames=6, size=(64, 64), seed=0)
    command = ["ingest", str(tmp_path / "raws"), "--out", str(tmp_path / "s.h5"), "--patch-size", "8", "--jobs", "1"]
    made = []

    def interrupted(*arguments: object) -> list[PartNote]:
        if made:
            raise KeyboardInterrupt
        made.append(cut_frames(*arguments))  # type: ignore[arg-type]
        return made[0]

    monkeypatch.setattr("noiseflow.patches.ingestion.ingestion.BYTES_AT_ONCE", 1)
    monkeypatch.setattr("noiseflow.patches.ingestion.ingestion.cut_frames", interrupted)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 130
    partial = tmp_path / "s.h5.partial"
    said = (
        f"stopped by Ctrl-C; finished work is kept in {partial}; continue with: {shlex.join(['noiseflow', *command])}"
    )
    assert said in result.output
    monkeypatch.undo()
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    assert "6 frames (1 from an earlier call)" in result.output


FILLED = """
    import resource, sys
    from pathlib import Path
    from noiseflow.core.errors import NoiseflowError
    from noiseflow.patches import ingest, IngestOptions

    raws, out, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    if limit:
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        ingest([raws], out, IngestOptions(patch_size=8))
    except NoiseflowError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_disk_that_is_full_keeps_what_is_done(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=6, size=(128, 128), seed=0)
    ingest([tmp_path / "raws"], tmp_path / "whole.h5", IngestOptions(patch_size=8))
    # Parts fit below this size of a file, the store does not.
    found = run_script(FILLED, tmp_path / "raws", tmp_path / "s.h5", 300_000)
    assert "cannot be written (" in found.stdout, found.stderr
    # HDF5 crashes at the end of a process in which it failed to write.
    assert found.returncode == 0
    assert "File too large" in found.stdout or "no space left" in found.stdout
    assert "s.h5.partial" in found.stdout
    assert not (tmp_path / "s.h5").exists()
    assert ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8)).resumed == 6
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False).returncode:
        pytest.skip("no right to mount a small file system here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_small_file_system(tmp_path: Path, small_disk: Path) -> None:
    burst_folder(tmp_path / "raws", frames=12, size=(256, 256), seed=0)
    with pytest.raises(StoreError, match=r"cannot be written \(no space left\)"):
        ingest([tmp_path / "raws"], small_disk / "s.h5")
    assert [path.name for path in small_disk.iterdir()] == [f"s.h5{PARTIAL}"]


def test_a_read_only_target(tmp_path: Path, small_disk: Path) -> None:
    burst_folder(tmp_path / "raws", frames=2, size=(64, 64), seed=0)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OutputError, match="is not writable"):
        ingest([tmp_path / "raws"], small_disk / "s.h5")


def test_a_killed_process_is_told_and_its_work_done_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst_folder(tmp_path / "raws", frames=4, size=(64, 64), seed=0)
    monkeypatch.setattr("noiseflow.patches.ingestion.tasks.prepare_scene", die)
    with pytest.raises(NoiseflowError, match="a process of the ingest was killed"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8), jobs=2)
    monkeypatch.undo()
    assert ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8)).frames == 4


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)

    def touched(path: Path) -> str:
        os.utime(path, ns=(1, 1))
        return "checksum"

    monkeypatch.setattr(tasks, "file_checksum", touched)
    with pytest.raises(RawError, match=r"frame_00\.dng: changed while it was read"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    assert [path.name for path in tmp_path.iterdir()] == ["raws"]


def test_a_file_that_changed_between_two_ingests_starts_anew(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=6, size=(128, 128), seed=0)
    run_script(FILLED, tmp_path / "raws", tmp_path / "s.h5", 300_000)
    with pytest.raises(StoreError, match=r"other sources or options \(options: seed"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8, seed=1))
    os.utime(tmp_path / "raws" / "frame_03.dng", ns=(1, 1))
    with pytest.raises(StoreError, match=r"other sources or options \(files: \S*frame_03\.dng\)"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))


def test_a_file_that_repeats_another_is_left_out_and_said(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=4, size=(64, 64), seed=0)
    shutil.copy(tmp_path / "raws" / "frame_01.dng", tmp_path / "raws" / "frame_07.dng")
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    assert result.frames == 4
    assert "1 file left out, the same as another" in result.notes[0]
    assert "frame_07.dng" in result.notes[0]


@pytest.mark.parametrize("name", ["with spaces", "nächtliche 夜", "-dash", "a'b\"c"])
def test_names_of_any_kind(tmp_path: Path, name: str) -> None:
    burst_folder(tmp_path / name, frames=2, size=(64, 64), seed=0)
    ingest([tmp_path / name], tmp_path / f"{name}.h5", IngestOptions(patch_size=8))
    with PatchStore(tmp_path / f"{name}.h5") as store:
        assert store.sources[0] == str(tmp_path / name / "frame_00.dng")


def test_codes_of_more_than_16_bits_are_refused(tmp_path: Path) -> None:
    from noiseflow.patches.assembly.cut import cut_patches
    from noiseflow.patches.pairings import FramePair
    from noiseflow.patches.sources import Frame

    image = frame(np.full((16, 16), 70_000, np.uint32))
    pair = FramePair(Frame(tmp_path, lambda: image), 0, image, np.zeros((4, 8, 8)), 0.0)
    with pytest.raises(RawError, match="integers 0…65535"):
        cut_patches(pair, np.zeros((1, 2), int), 8, 0, sink=lambda *_: None)


def test_a_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "raws").mkdir()
    for name in ("a.txt", "b.jpg", "c"):
        (tmp_path / "raws" / name).write_text("no raw")
    with pytest.raises(RawError, match="no raw file in this folder"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5")


def test_masked_pixels_leave_their_patches_out(tmp_path: Path) -> None:
    from noiseflow.patches.assembly.cut import select_patches
    from noiseflow.patches.pairings import FramePair
    from noiseflow.patches.sources import Frame

    image = frame(np.full((32, 32), 500, np.uint16))
    valid = np.ones((4, 16, 16), bool)
    valid[2, 3, 12] = False
    pair = FramePair(Frame(tmp_path, lambda: image), 0, image, np.full((4, 16, 16), 500.0), 0.0, valid)
    strict = select_patches(pair, IngestOptions(patch_size=8), 0)
    kept = select_patches(pair, IngestOptions(patch_size=8), 0, signal=pair.clean)
    assert (len(kept.corners), kept.masked) == (4, 0)
    half = np.ones_like(valid)
    half[:, :8, :5] = False
    most = select_patches(replace(pair, valid=half), IngestOptions(patch_size=8), 0, signal=pair.clean)
    assert (len(most.corners), most.masked) == (3, 1)
    assert (len(strict.corners), strict.masked, strict.clipped) == (3, 1, 0)
    assert [0, 8] not in strict.corners.tolist()
    assert len(select_patches(pair, IngestOptions(patch_size=8, max_masked=0.01), 0).corners) == 4


def test_a_file_that_came_to_stand_there_during_an_ingest_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under --overwrite too: what was asked to be replaced is our store, and not what somebody saved meanwhile."""
    burst_folder(tmp_path / "raws", frames=3, size=(32, 64), seed=0)
    out, make = tmp_path / "s.h5", ingestion._make

    def and_meanwhile(*arguments: Any) -> Any:
        out.write_text("mine")
        return make(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "_make", and_meanwhile)
        with pytest.raises(OutputError, match=r"s\.h5"):
            ingest([tmp_path / "raws"], out, IngestOptions(patch_size=8), jobs=1, overwrite=True)
    assert out.read_text() == "mine"
    out.unlink()
    assert ingest([tmp_path / "raws"], out, IngestOptions(patch_size=8), jobs=1).frames == 3

"""One way to write: nothing of the user's is changed, and what stands under a final name is whole."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from noiseflow.calibrate import write_profile
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.core.errors import OutputError
from noiseflow.core.output.checks import check_apart, check_output, inside, writing
from noiseflow.core.output.folder import whole_folder
from noiseflow.core.output.leftovers import is_private, private_name
from noiseflow.core.output.lock import lock_file, locked
from noiseflow.core.output.manifest import MANIFEST, begin, foreign, listing, record, remove_ours
from noiseflow.core.output.marks import MARK, sealed_html
from noiseflow.core.output.whole import whole_file, write_bytes, write_text


def sandbox(folder: Path) -> dict[str, str]:
    """Every entry below a folder, with the digest of its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "special"
    return found


def make(path: Path, text: str = "ours", *, overwrite: bool = False) -> None:
    """Write a folder of ours with two files."""
    with writing(path, folder=True, overwrite=overwrite), whole_folder(path, "test", overwrite=overwrite) as partial:
        (partial / "a").mkdir()
        (partial / "a" / "x.txt").write_text(text)
        (partial / "index.html").write_text(text)


def test_a_folder_is_whole_listed_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    make(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    known = listing(tmp_path / "out")
    assert known is not None
    assert set(known.files) == {"a/x.txt", "index.html"}
    assert foreign(tmp_path / "out") == []


def test_a_folder_of_ours_is_replaced_only_when_that_is_wanted(tmp_path: Path) -> None:
    make(tmp_path / "out")
    with pytest.raises(OutputError, match="--overwrite"):
        make(tmp_path / "out", "new")
    make(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "index.html").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_fails_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    def half_a_folder() -> None:
        with writing(tmp_path / "o", folder=True), whole_folder(tmp_path / "o", "x") as partial:
            (partial / "half").write_text("…")
            raise RuntimeError

    def half_a_file() -> None:
        with whole_file(tmp_path / "f.bin") as partial:
            partial.write_bytes(b"half")
            raise RuntimeError

    for half in (half_a_folder, half_a_file):
        with pytest.raises(RuntimeError):
            half()
    assert sandbox(tmp_path) == {}


FOREIGN = {
    "a file": lambda out: (out / "photo.dng").write_bytes(b"mine"),
    "a file in the place of ours": lambda out: (out / "index.html").write_bytes(b"mine"),
    "a folder": lambda out: (out / "raws").mkdir(),
    "a file in a folder of ours": lambda out: (out / "a" / "y.txt").write_bytes(b"mine"),
    "a link in the place of ours": lambda out: ((out / "index.html").unlink(), (out / "index.html").symlink_to("/")),
    "a pipe": lambda out: os.mkfifo(out / "pipe"),
    "no list": lambda out: (out / MANIFEST).unlink(),
    "a list of their own": lambda out: (out / MANIFEST).write_text('{"photos": 3}\n'),
    "a list that is a link": lambda out: ((out / MANIFEST).rename(out / "l"), (out / MANIFEST).symlink_to(out / "l")),
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("what", FOREIGN)
def test_a_folder_that_holds_anything_else_is_left_as_it_is(tmp_path: Path, what: str, overwrite: bool) -> None:
    out = tmp_path / "out"
    make(out)
    FOREIGN[what](out)
    before = sandbox(tmp_path)
    with pytest.raises(OutputError, match="move it away"):
        make(out, "new", overwrite=overwrite)
    with pytest.raises(OutputError, match="move it away"):
        remove_ours(out)
    assert sandbox(tmp_path) == before


def test_the_first_three_foreign_things_are_named(tmp_path: Path) -> None:
    make(tmp_path / "out")
    for name in "dcbaz":
        (tmp_path / "out" / f"{name}.arw").touch()
    with pytest.raises(OutputError, match=r"'a\.arw', 'b\.arw', 'c\.arw' and 2 more"):
        check_output(tmp_path / "out", folder=True, overwrite=True)


def test_nested_lists_and_growing_files_count(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    begin(out, "demo")
    record(out, {"folder": "run"}, {"growing": "events.*.0123abcd"})
    make(out / "run")
    (out / "events.7.0123abcd").write_text("grows")
    assert foreign(out) == []
    (out / "run" / "photo.jpg").touch()
    (out / "events.7.other").touch()
    assert foreign(out) == ["events.7.other", "run/photo.jpg"]
    (out / "run" / "photo.jpg").unlink()
    (out / "events.7.other").unlink()
    remove_ours(out)
    assert sandbox(tmp_path) == {}


def test_a_folder_with_a_list_that_nobody_announced_is_foreign(tmp_path: Path) -> None:
    make(tmp_path / "out")
    make(tmp_path / "out" / "mine")
    assert "mine" in foreign(tmp_path / "out")
    assert "mine/index.html" in foreign(tmp_path / "out")


def test_a_line_that_was_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    begin(tmp_path / "out", "run")
    with (tmp_path / "out" / MANIFEST).open("ab") as file:
        file.write(b'{"file": "spec.js')
    write_text(tmp_path / "out" / "spec.json", "{}")
    record(tmp_path / "out", {"file": "spec.json", "sha256": hashlib.sha256(b"{}").hexdigest()})
    assert foreign(tmp_path / "out") == []


def test_a_name_that_is_taken_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "mine", b"ours")
    assert sandbox(tmp_path) == {"mine": hashlib.sha256(b"mine").hexdigest()}


def test_files_have_the_mode_that_the_user_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x.json", "{}")
    finally:
        os.umask(before)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o640


def test_names_that_are_no_text_are_written_harmless(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", os.fsdecode(b"caf\xe9.dng"))
    assert (tmp_path / "x.txt").read_bytes() == b"caf\\udce9.dng"


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "current folder"),
        (".", "current folder"),
        ("..", "current folder"),
        ("../here", "current folder"),
        ("/", "current folder"),
        ("missing/x", "no such folder"),
        ("link", "symbolic link"),
        ("broken", "symbolic link"),
        ("pipe", "special file"),
        ("/dev/null", "special file"),
        ("input", "is an input"),
        ("holds", "contains .*, an input|expected the name of a file"),
        ("source/inside", "is inside .*, an input"),
        ("other", "expected the name of a"),
        ("long" * 100, "too long"),
    ],
)
def test_places_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool, name: str, says: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for each in ("source", "holds", "target"):
        (here / each).mkdir()
    (here / "holds" / "p.h5").touch()
    (here / "link").symlink_to(here / "target")
    (here / "broken").symlink_to(here / "nothing")
    os.mkfifo(here / "pipe")
    (here / "other").touch() if folder else (here / "other").mkdir()
    (here / "input").mkdir() if folder else (here / "input").touch()
    before = sandbox(tmp_path)
    inputs = [here / "input", here / "holds" / "p.h5", here / "source"]
    for overwrite in (False, True):
        with pytest.raises((OutputError, OSError), match=f"(?i){says}"):  # noqa: SIM117
            with writing(name, folder=folder, inputs=inputs, overwrite=overwrite):
                pass
    assert sandbox(tmp_path) == before


def test_an_input_is_known_by_its_other_names(tmp_path: Path) -> None:
    (tmp_path / "x.dng").touch()
    (tmp_path / "y.dng").hardlink_to(tmp_path / "x.dng")
    (tmp_path / "z.dng").symlink_to(tmp_path / "x.dng")
    for given in ("y.dng", "z.dng"):
        with pytest.raises(OutputError, match="is an input"):
            check_output(tmp_path / "x.dng", inputs=[tmp_path / given], overwrite=True)


def test_outputs_of_one_command_are_apart(tmp_path: Path) -> None:
    check_apart(tmp_path / "a", None, tmp_path / "b")
    with pytest.raises(OutputError, match="another output"):
        check_apart(tmp_path / "a", tmp_path / "b", tmp_path / "a")


def test_room_on_the_disk_is_looked_for_first(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="GB left"):
        check_output(tmp_path / "x", needs=1 << 60)


def test_a_file_without_our_mark_is_never_replaced(tmp_path: Path) -> None:
    for suffix in (".dng", ".tiff", ".h5", ".npy", ".png", ".json", ".html", ".onnx", ".pt2", ".txt"):
        path = tmp_path / f"mine{suffix}"
        for content in (b"", b"mine noiseflow", b"\x89HDF\r\n\x1a\nnoiseflow", b"II*\0\xff\xff\xff\xff", b"\x93NUMPY"):
            path.write_bytes(content)
            with pytest.raises(OutputError, match="was not written by noiseflow"):
                check_output(path, overwrite=True)


@pytest.mark.parametrize("change", ["a number", "the checksum taken out, as the error for the number says"])
def test_a_profile_that_its_user_changed_is_theirs(tmp_path: Path, change: str) -> None:
    path = tmp_path / "camera.json"
    write_profile(shipped_profile("Sony A7S2"), path)
    check_output(path, overwrite=True)
    fields = json.loads(path.read_text())
    fields["white_dn"] += 1
    if change != "a number":
        del fields["sha256"]
    path.write_text(json.dumps(fields))
    with pytest.raises(OutputError, match="or was changed since"):
        check_output(path, overwrite=True)


@pytest.mark.parametrize("change", [None, "a word", "the end", "a comment at the end", "no checksum"])
def test_a_page_that_its_user_changed_is_theirs(tmp_path: Path, change: str | None) -> None:
    """A page without a checksum is of an earlier version."""
    path = tmp_path / "page.html"
    content = sealed_html(f"<html><meta name='generator' content='{MARK}'><h1>Camera</h1></html>\n")
    changed = {
        None: content,
        "a word": content.replace(b"Camera", b"My own"),
        "the end": content + b"my remarks",
        "a comment at the end": content.removesuffix(b" -->\n") + b" my remarks -->\n",
        "no checksum": content.partition(b"\n<!--")[0],
    }
    path.write_bytes(changed[change])
    if change in (None, "no checksum"):
        check_output(path, overwrite=True)
        return
    with pytest.raises(OutputError, match="or was changed since"):
        check_output(path, overwrite=True)


@pytest.mark.parametrize("tag", [270, 700, 18246, 33723, 34377, None])
@pytest.mark.parametrize("suffix", [".dng", ".tiff"])
def test_a_dng_in_which_another_program_keeps_its_users_work_is_theirs(
    tmp_path: Path, tag: int | None, suffix: str
) -> None:
    """Lightroom writes how a DNG was developed, exiftool stars and titles, into the file itself; the mark stays."""
    path = tmp_path / f"noisy{suffix}"
    pixels = np.zeros((16, 16), np.uint16)
    if tag is None:
        for metadata in (None, {}):
            tifffile.imwrite(path, pixels, software=MARK, metadata=metadata)
            check_output(path, overwrite=True)
        return
    tags = [(tag, 1, 6, b"<xmp/>", True)]
    tifffile.imwrite(path, pixels, software=MARK, metadata=None, extratags=tags)
    with pytest.raises(OutputError, match="or was changed since"):
        check_output(path, overwrite=True)


WRITER = """
import sys, time
from pathlib import Path
from noiseflow.core.output.checks import writing
from noiseflow.core.output.whole import whole_file
out = Path(sys.argv[1])
with writing(out), whole_file(out) as partial:
    partial.write_text("half")
    print(partial, flush=True)
    time.sleep(60)
"""


def test_the_second_writer_says_who_writes_and_death_frees_the_lock(tmp_path: Path) -> None:
    out = tmp_path / "o.h5"
    with subprocess.Popen([sys.executable, "-c", WRITER, out], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        partial = Path(writer.stdout.readline().strip())
        with pytest.raises(OutputError, match=rf"written by process {writer.pid} on .* since 20\d\d-"), writing(out):
            pass
        writer.kill()
        writer.wait()
    assert partial.exists()
    assert lock_file(out).exists()
    with writing(out):
        assert not partial.exists()
        write_bytes(out, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["o.h5"]


def test_a_file_of_the_users_is_no_lock_and_its_list_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "photo").write_text("mine")
    file = lock_file(tmp_path / "out")
    for content in ("mine", json.dumps({"private": "photo"}) + "\n"):
        file.write_text(content)
        before = sandbox(tmp_path)
        with pytest.raises(OutputError, match="was not written by noiseflow"), locked(tmp_path / "out"):
            pass
        assert sandbox(tmp_path) == before
    victims = [{"private": name} for name in ("photo", "../photo", f"../{private_name()}")]
    file.write_text("".join(json.dumps(line) + "\n" for line in ({"noiseflow": "writing"}, *victims)))
    with locked(tmp_path / "out"):
        pass
    assert (tmp_path / "photo").read_text() == "mine"


def test_locks_nest_and_take_turns(tmp_path: Path) -> None:
    with locked(tmp_path / "o"), locked(tmp_path / "o"), locked(tmp_path / "other"):
        assert lock_file(tmp_path / "o").exists()
    assert sandbox(tmp_path) == {}


def test_a_lock_costs_next_to_nothing(tmp_path: Path) -> None:
    began = time.process_time()
    for _ in range(100):
        with writing(tmp_path / "o"):
            pass
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("name", ["../photo", "/etc/passwd", "a/../../b", "", "a\0b", None, 3])
def test_a_name_from_a_file_stays_inside(tmp_path: Path, name: object) -> None:
    with pytest.raises(OutputError, match="is not inside"):
        inside(tmp_path, name, tmp_path / "simulation.json")
    assert inside(tmp_path, "a/b.dng", tmp_path / "m") == tmp_path / "a" / "b.dng"


def test_private_names_are_known_by_their_form() -> None:
    assert is_private(private_name(".dng"))
    assert private_name() != private_name()
    assert not any(map(is_private, (".noiseflow", ".noiseflow-mine", "x.partial", f"x{private_name()}")))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    make(tmp_path / "out")
    before = sandbox(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="no space"):
        make(tmp_path / "out", "new", overwrite=True)
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "x", b"x")
    assert sandbox(tmp_path) == before

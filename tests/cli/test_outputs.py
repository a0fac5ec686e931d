"""Every command that writes, against everything that can stand in its way: no byte of the user's changes."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
from builders import burst_folder, gaussian_store
from click.testing import CliRunner

from noiseflow.cli import COMMANDS, main
from noiseflow.models import ModelSpec, build, save

WRITES = ("out", "report", "preview", "maps")
"""Parameters of commands that name an output."""


@dataclass(frozen=True)
class Writer:
    """How a command is called: its words with ``OUT`` for the output, its kind, and its first input."""

    words: str
    suffix: str = ""
    source: str = ""
    overwrite: str = "--overwrite"

    @property
    def folder(self) -> bool:
        return not self.suffix


WRITERS = {
    ("demo", "out"): Writer("demo OUT"),
    ("simulate", "out"): Writer("simulate OUT --camera PG-12 --iso 100 --scenes 1 --size 32 48"),
    ("ingest", "out"): Writer("ingest in/raws --patch-size 8 --out OUT", ".h5", "in/raws"),
    ("ingest", "out", "file"): Writer("ingest in/raws/frame_00.dng --out OUT", ".h5", "in/raws/frame_00.dng"),
    ("calibrate", "out"): Writer("calibrate in/raws --out OUT", ".json", "in/raws"),
    ("calibrate", "out", "file"): Writer("calibrate in/raws/frame_00.dng --out OUT", ".json", "in/raws/frame_00.dng"),
    ("calibrate", "report"): Writer("calibrate in/raws --out new.json --report OUT", ".html", "in/raws"),
    ("calibrate", "report", "file"): Writer(
        "calibrate in/raws/frame_00.dng --out new.json --report OUT", ".html", "in/raws/frame_00.dng"
    ),
    ("calibrate", "maps"): Writer("calibrate in/raws --out new.json --maps OUT", ".h5", "in/raws"),
    ("fit", "out"): Writer("fit in/p.h5 --model nlf --out OUT", "", "in/p.h5"),
    ("fit-video", "out"): Writer("fit-video in/run in/raws --part black_drift --out OUT", "", "in/raws"),
    ("distill", "out"): Writer("distill in/run --steps 1 --out OUT", "", "in/run"),
    ("sample", "out"): Writer("sample in/run in/raws/frame_00.dng --out OUT", ".dng", "in/run"),
    ("sample", "out", "clean"): Writer("sample in/run in/raws/frame_00.dng --out OUT", ".dng", "in/raws/frame_00.dng"),
    ("sample", "preview"): Writer("sample in/run in/raws/frame_00.dng --out n.npy --preview OUT", ".png", "in/run"),
    ("denoise", "out"): Writer("denoise in/run in/raws/frame_00.dng --out OUT", ".dng", "in/run"),
    ("denoise", "preview"): Writer(
        "denoise in/raws/frame_00.dng --out n.npy --preview OUT", ".png", "in/raws/frame_00.dng"
    ),
    ("train-denoiser", "out"): Writer("train-denoiser --model in/run --steps 1 --out OUT", "", "in/run"),
    ("transfer", "out"): Writer(
        "transfer in/raws/frame_00.dng --from sony-a7s2 --to pg-12 --out OUT", ".dng", "in/raws/frame_00.dng"
    ),
    ("synthesize", "out"): Writer("synthesize in/raws --run in/run --out OUT", "", "in/raws"),
    ("clean-patches", "out"): Writer("clean-patches in/p.h5 --out OUT", "", "in/p.h5"),
    ("evaluate", "out"): Writer("evaluate in/run in/p.h5 --out OUT", "", "in/run"),
    ("evaluate", "out", "samples"): Writer("evaluate in/samples in/p.h5 --out OUT", "", "in/samples"),
    ("evaluate-video", "out"): Writer("evaluate-video in/run in/raws --out OUT", "", "in/run"),
    ("benchmark", "out"): Writer("benchmark in/spec.toml --out OUT", "", "in/spec.toml", ""),
    ("benchmark", "out", "named"): Writer("benchmark in/raws.toml --out OUT", "", "in/raws", ""),
    ("export", "out"): Writer("export in/run OUT", ".pt2", "in/run"),
    ("export", "out", "shards"): Writer("export in/p.h5 OUT", "", "in/p.h5"),
    ("import", "out"): Writer("import in/weights.npz --out OUT", "", "in/weights.npz"),
    ("profiles", "out"): Writer("profiles 'Sony A7S2' --out OUT", ".json"),
    ("profiles", "out", "darktable"): Writer("profiles 'Sony A7S2' --write darktable --out OUT", ".json"),
    ("profiles", "out", "dng"): Writer(
        "profiles 'Sony A7S2' --write dng --dng in/raws/frame_00.dng --out OUT", ".dng", "in/raws/frame_00.dng"
    ),
}
"""By command, its parameter, and the form where it writes several."""


def test_no_command_that_writes_is_forgotten() -> None:
    context = click.Context(main)
    found = set()
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        found |= {(name, param.name) for param in command.params if param.name in WRITES}
        paths = [param.name for param in command.params if isinstance(param.type, click.Path)]
        read = {
            "sources",
            "stores",
            "run",
            "runs",
            "store",
            "clean",
            "noisy",
            "paths",
            "frames",
            "pictures",
            "profile",
            "published",
            "scored",
            "config",
            "body",
            "origin",
            "dng",
        }
        assert set(paths) <= read | set(WRITES) | {"spec", "path", "first", "second"}, name
    assert found == {name[:2] for name in WRITERS}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    burst_folder(folder / "raws", frames=3, size=(32, 32), seed=0)
    gaussian_store(folder / "p.h5", patches=20).close()
    save(build(ModelSpec("maf", cameras=("Maker One",), isos=(100.0, 1600.0))), folder / "run")
    np.savez(folder / "weights.npz", x=np.zeros(3))
    (folder / "spec.toml").write_text('[[data]]\nname = "a"\nstore = "p.h5"\n[[model]]\nname = "nlf"\n')
    (folder / "raws.toml").write_text('[[data]]\nname = "a"\nsources = ["raws"]\n[[model]]\nname = "nlf"\n')
    mine(folder / "samples" / "noise.npy")
    return folder


def mine(path: Path, content: bytes = b"mine") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def a_foreign_file(out: Path, writer: Writer) -> str:
    mine(out / "photo.dng" if writer.folder else out)
    return str(out)


LIKE_OURS = (
    "spec.json model.safetensors state/000000001/state.json index.html metrics.csv metrics.json simulation.json "
    "synthesis.json manifest.jsonl results.json patches.h5 raws/a.dng run/thesis report/index.html data/a/data.json "
    "cells/a/nlf/cell.json .noiseflow"
)


def names_like_ours(out: Path, writer: Writer) -> str:
    if writer.folder:
        for name in LIKE_OURS.split():
            mine(out / name, b'{"noiseflow": "mine"}')
    else:
        mine(out, b"noiseflow\x89HDF\r\n\x1a\n")
    return str(out)


def a_foreign_folder(out: Path, writer: Writer) -> str:
    mine(out / "state" / "photo.dng")
    return str(out)


def an_input(out: Path, writer: Writer) -> str:
    return writer.source


def what_holds_an_input(out: Path, writer: Writer) -> str:
    return "in"


def inside_an_input(out: Path, writer: Writer) -> str:
    return f"{writer.source}/new{writer.suffix}"


def a_link(out: Path, writer: Writer) -> str:
    mine(out.with_name("target") / "photo.dng")
    out.symlink_to(out.with_name("target"))
    return str(out)


def a_link_to_a_file(out: Path, writer: Writer) -> str:
    mine(out.with_name("photo.dng"))
    out.symlink_to(out.with_name("photo.dng"))
    return str(out)


def a_pipe(out: Path, writer: Writer) -> str:
    os.mkfifo(out)
    return str(out)


def a_partial(out: Path, writer: Writer) -> str:
    mine(Path(f"{out}.partial") / "photo.dng")
    return str(out)


def here(out: Path, writer: Writer) -> str:
    return "."


def nothing(out: Path, writer: Writer) -> str:
    return ""


def the_root(out: Path, writer: Writer) -> str:
    return "/"


def above(out: Path, writer: Writer) -> str:
    return "../.."


def in_a_missing_folder(out: Path, writer: Writer) -> str:
    return f"missing/folder/x{writer.suffix}"


def below_a_file(out: Path, writer: Writer) -> str:
    mine(out.with_name("photo"))
    return str(out.with_name("photo") / out.name)


CASES: tuple[Callable[[Path, Writer], str], ...] = (
    a_foreign_file,
    names_like_ours,
    a_foreign_folder,
    an_input,
    what_holds_an_input,
    inside_an_input,
    a_link,
    a_link_to_a_file,
    a_pipe,
    a_partial,
    here,
    nothing,
    the_root,
    above,
    in_a_missing_folder,
    below_a_file,
)
KEEPS_A_PARTIAL = ("ingest", "synthesize")
"""Commands that go on with a folder of a known name; the others use private names."""


def sandbox(folder: Path) -> dict[str, str]:
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


@pytest.mark.parametrize("overwrite", [False, True], ids=["plain", "overwrite"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("name", WRITERS, ids="-".join)
def test_nothing_of_the_users_is_changed_and_a_line_says_why(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: tuple[str, ...],
    case: Callable[[Path, Writer], str],
    overwrite: bool,
) -> None:
    writer = WRITERS[name]
    # A profile may lie beside its frames: what is written there is a new file.
    beside = case is inside_an_input and name[0] == "calibrate"
    if (case in (an_input, inside_an_input) and (not writer.source or beside)) or (
        case is a_partial and name[0] not in KEEPS_A_PARTIAL
    ):
        pytest.skip("no such thing for this command")
    box = tmp_path / "home" / "work"
    box.mkdir(parents=True)
    shutil.copytree(inputs, box / "in")
    monkeypatch.chdir(box)
    out = case(box / f"out{writer.suffix}", writer)
    words = [
        out if word == "OUT" else word.strip("'") for word in writer.words.replace("Sony A7S2", "Sony_A7S2").split()
    ]
    words = [word.replace("_", " ") if word.startswith("Sony") else word for word in words]
    if overwrite and writer.overwrite:
        words.append(writer.overwrite)
    before = sandbox(tmp_path)
    result = CliRunner().invoke(main, words)
    assert sandbox(tmp_path) == before
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("noiseflow: ")
    assert any(word in line for word in ("choose another", "name", "move it away", "make it first", "not a directory"))


QUICK = ("simulate", "fit", "distill", "sample", "transfer", "synthesize", "clean-patches")
"""Commands that end within a second; each of the others writes as one of them does."""


@pytest.mark.parametrize("name", [name for name in WRITERS if name[0] in QUICK and len(name) == 2], ids="-".join)
def test_what_is_called_partial_is_the_users_too(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: tuple[str, ...]
) -> None:
    """A command that makes its output elsewhere does its work; one that would make it there says so."""
    writer = WRITERS[name]
    (tmp_path / "in").symlink_to(inputs)
    monkeypatch.chdir(tmp_path)
    names = [f"out{writer.suffix}.partial", f".out.partial{writer.suffix}", f"out.partial{writer.suffix}"]
    for each in names:
        mine(tmp_path / each / "photo.dng" if writer.folder else tmp_path / each)
    before = {each: content for each, content in sandbox(tmp_path).items() if "partial" in each}
    result = CliRunner().invoke(main, writer.words.replace("OUT", f"out{writer.suffix}").split())
    assert {each: content for each, content in sandbox(tmp_path).items() if "partial" in each} == before
    refused = result.exit_code == 1 and "move it away" in result.stderr
    assert refused == (name[0] in KEEPS_A_PARTIAL), result.output
    assert refused or result.exit_code == 0, result.output

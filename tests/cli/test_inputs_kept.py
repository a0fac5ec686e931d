"""Every input of every command, given as its output too, by its own and by other names: it stays as it is."""

import hashlib
import re
import shlex
import shutil
from collections.abc import Callable
from contextvars import Context
from pathlib import Path

import click
import h5py
import pytest
from builders import burst_folder, gaussian_store
from click.testing import CliRunner

from noiseflow.calibrate import write_profile
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.cli import COMMANDS, main
from noiseflow.core.output.folder import whole_folder
from noiseflow.core.output.lock import locked
from noiseflow.core.output.marks import has_mark
from noiseflow.models import ModelSpec, build, save

OUTPUTS = ("out", "report", "preview", "maps")
ONLY_READS = ("compare", "info", "push")

CALLS = {
    "ingest sources": "ingest n.dng --patch-size 8 --out OUT.dng",
    "ingest body": "ingest n.dng --body body.h5 --out OUT.h5",
    "calibrate sources": "calibrate n.dng --out new.json --report OUT.dng",
    "calibrate sources few": "calibrate n.dng --few --out OUT.dng",
    "calibrate sources maps": "calibrate n.dng --out new.json --maps OUT.dng",
    "fit stores": "fit p.h5 --model nlf --out OUT.h5",
    "fit config": "fit p.h5 --config fit.toml --out OUT.toml",
    "fit origin": "fit p.h5 --from run --out OUT",
    "fit-video run": "fit-video run few --part black_drift --out OUT",
    "fit-video frames": "fit-video run few --part black_drift --out OUT",
    "fit-video clean": "fit-video run few --clean n.dng --out OUT.dng",
    "distill run": "distill run --steps 1 --store p.h5 --out OUT",
    "distill store": "distill run --steps 1 --store p.h5 --out OUT.h5",
    "distill frames": "distill run --steps 1 --frames raws --out OUT",
    "sample run": "sample c.json n.dng --iso 400 --out OUT.json",
    "sample clean": "sample run n.dng --iso 400 --out OUT.dng",
    "sample clean preview": "sample run n.dng --iso 400 --out new.npy --preview OUT.dng",
    "sample profile": "sample run n.dng --iso 400 --profile c.json --out OUT.json",
    "sample body": "sample run n.dng --iso 400 --body body.h5 --out OUT.h5",
    "denoise paths": "denoise n.dng --out OUT.dng",
    "denoise paths run": "denoise run n.dng --out OUT.dng",
    "denoise model": "denoise n.dng --model c.json --out OUT.json",
    "denoise body": "denoise n.dng --body body.h5 --out OUT.h5",
    "train-denoiser model": "train-denoiser --model run --steps 1 --out OUT",
    "train-denoiser frames": "train-denoiser --model c.json --frames raws --steps 1 --out OUT",
    "train-denoiser pictures": "train-denoiser --model c.json --pictures raws --steps 1 --out OUT",
    "train-denoiser origin": "train-denoiser --model c.json --from run --steps 1 --out OUT",
    "transfer noisy": "transfer n.dng --from c.json --to c.json --out OUT.dng",
    "transfer first": "transfer n.dng --from c.json --to sony-a7s2 --out OUT.json",
    "transfer second": "transfer n.dng --from sony-a7s2 --to c.json --out OUT.json",
    "transfer clean": "transfer raws/frame_01.dng --from c.json --to c.json --clean n.dng --out OUT.dng",
    "synthesize clean": "synthesize raws --run c.json --isos 400 --out OUT",
    "synthesize runs": "synthesize raws --run run --isos 400 --out OUT",
    "clean-patches store": "clean-patches p.h5 --out OUT.h5",
    "evaluate runs": "evaluate run p.h5 --out OUT",
    "evaluate store": "evaluate run p.h5 --out OUT.h5",
    "evaluate body": "evaluate run p.h5 --body body.h5 --out OUT.h5",
    "evaluate-video run": "evaluate-video run few --out OUT",
    "evaluate-video frames": "evaluate-video run few --out OUT",
    "evaluate-video clean": "evaluate-video run few --clean n.dng --out OUT.dng",
    "benchmark spec": "benchmark spec.toml --out OUT.toml",
    "export run": "export run OUT",
    "export run store": "export p.h5 OUT.h5",
    "import published": "import n.dng --out OUT.dng",
    "import profile": "import n.dng --profile c.json --out OUT.json",
    "profiles name": "profiles c.json --out OUT.json",
    "profiles name darktable": "profiles c.json --write darktable --out OUT.json",
    "profiles name dng": "profiles c.json --write dng --dng n.dng --out OUT.json",
    "profiles dng": "profiles c.json --write dng --dng n.dng --out OUT.dng",
}
"""By command and parameter: a call of it, with ``OUT`` and the suffix of that input for the output."""

FILES = {".dng": "n.dng", ".json": "c.json", ".h5": "p.h5"}
FOLDERS = {"sources": "raws", "frames": "raws", "pictures": "raws", "clean": "raws"}


def given(name: str) -> str:
    """The input that a call is about."""
    words, parameter = CALLS[name].split(), name.split()[1]
    suffix = next(word.removeprefix("OUT") for word in words if word.startswith("OUT"))
    found = {"body": "body.h5", "config": "fit.toml", "spec": "spec.toml"}.get(parameter)
    if found is None:
        found = FILES[suffix] if suffix else FOLDERS.get(parameter, "run")
    # Frames of a video.
    return found if found in words else "few"


def test_no_input_is_forgotten() -> None:
    context, found = click.Context(main), set()
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        paths = {str(each.name) for each in command.params if isinstance(each.type, click.Path)}
        if name not in ONLY_READS and paths & set(OUTPUTS):
            found |= {(name, each) for each in paths - set(OUTPUTS)}
    listed = {tuple(name.split()[:2]) for name in CALLS}
    # A model that is named, and the database of darktable, which is only listed.
    assert listed - {
        ("denoise", "model"),
        ("train-denoiser", "model"),
        ("profiles", "name"),
        ("import", "profile"),
    } == (found - {("profiles", "published"), ("import", "profile")})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    burst_folder(folder / "made", frames=3, size=(32, 32), seed=0)
    # Folders of ours too, which may be replaced where they are no inputs.
    for name in ("raws", "few"):
        with whole_folder(folder / name, "simulation") as made:
            for path in (folder / "made").glob("*.dng"):
                shutil.copy(path, made / path.name)
    shutil.copy(folder / "made" / "frame_00.dng", folder / "n.dng")
    shutil.rmtree(folder / "made")
    gaussian_store(folder / "p.h5", patches=20).close()
    save(build(ModelSpec("nlf", cameras=("Maker One",), isos=(100.0, 1600.0))), folder / "run")
    write_profile(shipped_profile("Sony A7S2"), folder / "c.json")
    with h5py.File(folder / "body.h5", "w") as file:
        file.attrs["made_by"] = "noiseflow"
    (folder / "fit.toml").write_text("epochs = 1\n")
    (folder / "spec.toml").write_text('[[data]]\nname = "a"\nstore = "p.h5"\n[[model]]\nname = "nlf"\n')
    assert all(has_mark(folder / name) for name in ("p.h5", "n.dng", "c.json", "body.h5"))
    return folder


def by_its_name(source: Path) -> tuple[str, str]:
    return source.name, source.name


def by_a_link(source: Path) -> tuple[str, str]:
    link = source.with_name(f"link{source.suffix}")
    link.symlink_to(source.name)
    return link.name, source.name


def by_a_second_name(source: Path) -> tuple[str, str]:
    if source.is_dir():
        pytest.skip("a folder has no second name")
    twin = source.with_name(f"twin{source.suffix}")
    twin.hardlink_to(source)
    return source.name, twin.name


def through_another_folder(source: Path) -> tuple[str, str]:
    (source.parent / "there").mkdir()
    return source.name, f"there/../{source.name}"


def sandbox(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("how", [by_its_name, by_a_link, by_a_second_name, through_another_folder])
@pytest.mark.parametrize("name", CALLS)
def test_an_input_is_never_the_output(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: Callable[[Path], tuple[str, str]]
) -> None:
    box = tmp_path / "box"
    shutil.copytree(inputs, box)
    monkeypatch.chdir(box)
    source = given(name)
    assert source in CALLS[name].split(), name
    read, out = how(box / source)
    words = [read if word == source else out if word.startswith("OUT") else word for word in shlex.split(CALLS[name])]
    before = sandbox(box)
    for more in ([], ["--overwrite"]) if words[0] != "benchmark" else ([],):
        result = CliRunner().invoke(main, [*words, *more])
        assert sandbox(box) == before
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit), result.exception
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith("noiseflow: ")
        assert not more or re.search("is an input|expected the name of a|by noiseflow", line), line


@pytest.mark.parametrize(
    ("words", "work"),
    [
        ("train-denoiser --model run --steps 1 --out new", "noiseflow.augment.denoise.training.sources.trained_on"),
        ("distill run --steps 1 --store p.h5 --out new", "noiseflow.models.load"),
        ("fit p.h5 --model nlf --out new", "noiseflow.patches.PatchStore"),
        ("fit-video run few --out new", "noiseflow.models.load"),
        ("evaluate run p.h5 --out new", "noiseflow.patches.PatchStore"),
        ("evaluate-video run few --out new", "noiseflow.models.load"),
    ],
)
def test_another_writer_is_named_before_the_work(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, words: str, work: str
) -> None:
    def begun(*_: object, **__: object) -> None:
        raise AssertionError(work)

    monkeypatch.chdir(inputs)
    monkeypatch.setattr(work, begun)
    with locked(Path("new")):
        # As another process: what is held here is not known there.
        result = Context().run(CliRunner().invoke, main, words.split())
    assert result.exit_code == 1, result.exception
    assert "new: is being written by process" in result.stderr
    assert not list(inputs.glob(".noiseflow-*"))


def test_a_folder_with_the_name_of_a_shipped_profile_is_no_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Sony A7S2").mkdir()
    result = CliRunner().invoke(main, ["profiles", "Sony A7S2", "--out", "Sony A7S2/x.json"])
    assert result.exit_code == 0, result.output
    assert Path("Sony A7S2/x.json").exists()

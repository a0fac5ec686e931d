"""What the library writes, called from Python: no byte of the user's changes, and an error of ours says why."""

import ast
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from builders import burst_folder, gaussian_store
from small_denoiser import network

import noiseflow
from noiseflow.augment import synthesize, write_frame, write_preview
from noiseflow.augment.denoise.export import export_photo_denoiser
from noiseflow.augment.denoise.files import save_photo_denoiser
from noiseflow.augment.denoise.photo_file import denoise_photo_file
from noiseflow.augment.denoise.training.train import train_photo_denoiser
from noiseflow.augment.frames.to_files import sample_to_files
from noiseflow.augment.stabilise.variance_stabiliser import export_stabiliser
from noiseflow.calibrate import calibrate, write_profile
from noiseflow.calibrate.body.body_file import write_body
from noiseflow.calibrate.calibrate_camera import calibrate_few
from noiseflow.calibrate.profiles.exchange import stamp_dng, write_darktable
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.calibrate.report.page import write_page
from noiseflow.core.errors import NoiseflowError
from noiseflow.evaluate import write_report
from noiseflow.evaluate.benchmark.run_benchmark import benchmark
from noiseflow.evaluate.benchmark.spec import read_spec
from noiseflow.evaluate.samples.task import write_clean_patches
from noiseflow.fit import fit, fit_pairs, spec_for
from noiseflow.fit.distillation import distill
from noiseflow.models import ModelSpec, build, save
from noiseflow.models.denoiser import Denoiser, DenoiserSpec, save_denoiser
from noiseflow.models.io.export import export_sampler
from noiseflow.patches import PatchStore, ingest
from noiseflow.patches.store.shards import export_shards
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import simulate, simulate_series

NOTHING = cast("Any", None)
"""In the place of what is not looked at before the output is refused."""


@dataclass(frozen=True)
class Call:
    """How a function is called with an output; its suffix, none for a folder; what it reads; whether it can replace."""

    write: Callable[..., object]
    suffix: str = ""
    source: str = ""
    replaces: bool = True


def model() -> Any:
    return build(ModelSpec("nlf", cameras=("Maker One",), isos=(100.0, 1600.0)))


RAWS, FRAME, STORE = "in/raws", "in/raws/frame_00.dng", "in/p.h5"
CALLS = {
    "ingest": Call(lambda out, **how: ingest([RAWS], out, **how), ".h5", RAWS),
    "fit": Call(lambda out, **how: fit(PatchStore(STORE), spec_for(PatchStore(STORE), "nlf"), out, **how), "", STORE),
    "fit_pairs": Call(
        lambda out, **how: fit_pairs(PatchStore(STORE), spec_for(PatchStore(STORE), "nlf"), out, **how), "", STORE
    ),
    "synthesize": Call(lambda out, **how: synthesize(RAWS, out, ["in/run"], iso=400, **how), "", RAWS),
    "simulate": Call(lambda out, **how: simulate(out, "PG-12", [100.0], size=(32, 48), **how)),
    "simulate_series": Call(lambda out, **how: simulate_series(out, "PG-12", [400.0], size=(64, 96), **how)),
    "calibrate": Call(lambda out, **how: calibrate([FRAME], out, **how), ".json", FRAME),
    "calibrate_few": Call(lambda out, **how: calibrate_few([FRAME], out, **how), ".json", FRAME),
    "benchmark": Call(lambda out, **_: benchmark(read_spec(Path("in/spec.toml")), out), "", STORE, replaces=False),
    "sample_to_files": Call(
        lambda out, **how: sample_to_files(model(), read_raw(FRAME), out, inputs=[FRAME], **how), ".dng", FRAME
    ),
    "write_report": Call(lambda out, **how: write_report(NOTHING, out, **how)),
    "write_clean_patches": Call(lambda out, **how: write_clean_patches(PatchStore(STORE), out, **how), "", STORE),
    "export_shards": Call(lambda out, **how: export_shards(PatchStore(STORE), out, **how), "", STORE),
    "export_sampler": Call(lambda out, **how: export_sampler(model(), out, **how), ".pt2"),
    "export_photo_denoiser": Call(lambda out, **how: export_photo_denoiser(NOTHING, out, **how), ".pt2"),
    "write_frame": Call(lambda out, **how: write_frame(out, NOTHING, **how), ".dng"),
    "write_preview": Call(lambda out, **how: write_preview(out, NOTHING, **how), ".png"),
    "write_dng": Call(lambda out, **how: write_dng(out, NOTHING, **how), ".dng"),
    "write_profile": Call(lambda out, **how: write_profile(shipped_profile("Sony A7S2"), out, **how), ".json"),
    "write_darktable": Call(lambda out, **how: write_darktable(shipped_profile("Sony A7S2"), out, **how), ".json"),
    "denoise_photo_file": Call(lambda out, **how: denoise_photo_file(FRAME, out, **how), ".dng", FRAME),
    "stamp_dng": Call(lambda out, **how: stamp_dng(shipped_profile("Sony A7S2"), FRAME, out, **how), ".dng", FRAME),
}
"""Functions that write, by their names."""

TRIED_ELSEWHERE = {
    "distill": distill,
    "train_photo_denoiser": train_photo_denoiser,
    "save": save,
    "save_denoiser": save_denoiser,
    "save_photo_denoiser": save_photo_denoiser,
    "write_body": write_body,
    "write_page": write_page,
    "export_stabiliser": export_stabiliser,
}
"""Those that take long to get their arguments: their commands are in `test_outputs`, or they write into a folder."""

INNER = {
    "write_as_dng",
    "write_as_tiff",
    "write_as_npy",
    "write_as_hdf5",
    "write_results",
    "write_state",
    "write_whole",
}
INNER |= {"write_end", "write_fully", "write_prior", "write_listed", "write_listed_folder", "write_bytes", "write_text"}
"""Steps of others, which are given a private or a listed place."""


def test_no_function_that_writes_is_forgotten() -> None:
    found = set()
    for path in Path(noiseflow.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                arguments = {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
                named = node.name.startswith(("write_", "save", "export_", "stamp_"))
                if named or {"out", "overwrite"} <= arguments:
                    found.add(node.name)
    commands = {path.stem for path in (Path(noiseflow.__file__).parent / "cli").rglob("*.py")}
    plumbing = {"check_output", "writing", "whole_file", "whole_folder", "install", "reserve", "open_session"}
    assert found - INNER - plumbing - commands <= set(CALLS) | set(TRIED_ELSEWHERE)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    burst_folder(folder / "raws", frames=3, size=(32, 32), seed=0)
    gaussian_store(folder / "p.h5", patches=20).close()
    save(model(), folder / "run")
    (folder / "spec.toml").write_text('[[data]]\nname = "a"\nstore = "p.h5"\n[[model]]\nname = "nlf"\n')
    return folder


def mine(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"noiseflow": "mine"}')
    return str(path)


def foreign(call: Call) -> str:
    if call.suffix:
        return mine(Path(f"out{call.suffix}"))
    for name in ("spec.json", ".noiseflow", "state/000000001/state.json"):
        mine(Path("out") / name)
    return "out"


def link(call: Call) -> str:
    target = Path(mine(Path("target.bin"))) if call.suffix else Path(mine(Path("target/photo.dng"))).parent
    Path(f"out{call.suffix}").symlink_to(target)
    return f"out{call.suffix}"


def pipe(call: Call) -> str:
    os.mkfifo(f"out{call.suffix}")
    return f"out{call.suffix}"


PLACES: dict[str, Callable[[Call], str]] = {
    "foreign": foreign,
    "a link": link,
    "a pipe": pipe,
    "an input": lambda call: call.source,
    "what holds an input": lambda call: "in",
    "inside an input": lambda call: f"{call.source}/new{call.suffix}",
    "here": lambda _: ".",
    "the root": lambda _: "/",
    "nothing": lambda _: "",
    "a missing folder": lambda call: f"missing/x{call.suffix}",
}


def sandbox(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", CALLS)
def test_a_call_changes_nothing_of_the_users(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    call = CALLS[name]
    if place in ("an input", "inside an input") and not call.source:
        pytest.skip("it reads nothing")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("in").mkdir()
    for each in inputs.iterdir():
        Path("in", each.name).symlink_to(each)
    out, before = PLACES[place](call), sandbox(tmp_path)
    read = sandbox(inputs)
    for overwrite in (False, True) if call.replaces else (False,):
        with pytest.raises(
            NoiseflowError,
            match=r"choose|name|move it away|make it first|use the suffix|file name that ends in|without suffix",
        ):
            call.write(out, overwrite=overwrite)
    assert sandbox(tmp_path) == before
    assert sandbox(inputs) == read


@pytest.mark.parametrize("write", [save, save_denoiser, save_photo_denoiser], ids=lambda write: write.__name__)
def test_what_is_saved_into_a_folder_replaces_no_file_of_the_users(
    tmp_path: Path, write: Callable[..., object]
) -> None:
    made = {
        "save": model,
        "save_denoiser": lambda: Denoiser(DenoiserSpec("bayer", ("A",), (100.0,))),
        "save_photo_denoiser": network,
    }[write.__name__]()
    more = ({},) if write is save_photo_denoiser else ()
    write(made, tmp_path / "first", *more)
    for file in [path for path in (tmp_path / "first").rglob("*") if path.is_file() and path.name != ".noiseflow"]:
        folder = tmp_path / f"photos {file.name}"
        mine(folder / file.relative_to(tmp_path / "first"))
        mine(folder / "photo.dng")
        before = {name: content for name, content in sandbox(folder).items() if content is not None}
        with pytest.raises(NoiseflowError, match="was not written by noiseflow"):
            write(made, folder, *more)
        after = sandbox(folder)
        assert {name: after.get(name) for name in before} == before

"""The whole workflow on simulated data: simulate → ingest → fit → sample → evaluate → report."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from noiseflow.augment import sample_frame, write_frame
from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import refilled_folder
from noiseflow.core.progress import Progress, in_stages, silent
from noiseflow.evaluate import Evaluation, evaluate, write_report
from noiseflow.evaluate.baselines import baselines
from noiseflow.evaluate.evaluate_models import evaluation_costs
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.training.session import device_of
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.raw import read_raw
from noiseflow.simulate import simulate

__all__ = ["CAMERA", "DemoResult", "demo"]

CAMERA = "PG-12"
"""An invented camera with Poisson–Gaussian noise; its density is known, so the gap to the truth can be computed."""

MODEL = "physics_flow"

Stage = Callable[[str, str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class DemoResult:
    """Result of a demo: the scores of the fitted model, and the paths of everything written.

    Parameters
    ----------
    evaluation : Evaluation
        Scores of the fitted model on held-out patches.
    raws : Path
        Folder of simulated raw files.
    store : Path
        Patch store.
    run : Path
        Run folder of the model.
    sample : Path
        Sampled noisy frame (DNG).
    report : Path
        Report folder.
    """

    evaluation: Evaluation
    raws: Path
    store: Path
    run: Path
    sample: Path
    report: Path


def _quiet(title: str, unit: str) -> AbstractContextManager[Progress]:
    return nullcontext(silent)


def demo(
    out: str | Path,
    *,
    camera: str = CAMERA,
    scenes: int = 30,
    size: tuple[int, int] = (256, 384),
    epochs: int = 1,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    stage: Stage = _quiet,
) -> DemoResult:
    """Run the whole workflow on simulated raw files; no data needed.

    Parameters
    ----------
    out : path
        Folder for all outputs: raw files, patch store, run folder, sampled frame and report.
    camera : str
        Camera to simulate; see `noiseflow.simulate.camera_names`.
    scenes : int
        Number of scenes, each simulated at every ISO of the camera.
    size : tuple of int
        Height and width (H, W) of a frame in pixels.
    epochs : int
        Maximum number of epochs of the fit.
    seed : int
        Seed of all random numbers.
    device : str
        Device on which the model is fitted, sampled and scored: ``"auto"`` (a GPU if there is one), ``"cpu"`` or
        ``"cuda"``.
    overwrite : bool
        Whether to replace an earlier demo in `out`.
    stage : callable
        Called with the title and the unit of each stage; returns a context manager that yields the progress of the
        stage.

    Returns
    -------
    DemoResult
        Scores and paths.

    Raises
    ------
    OutputError
        `out` is not empty and `overwrite` is not set, or it contains something that no demo wrote.
    """
    where = device_of(device)
    with writing(out, folder=True, overwrite=overwrite) as out:
        folders = ({"folder": name} for name in ("raws", "patches.h5.partial", "run", "report"))
        with refilled_folder(out, "demo", *folders, {"marked": "patches.h5"}, {"marked": "noisy.dng"}):
            return _demo(out, camera, scenes, size, epochs, seed, where, stage)


def _demo(
    out: Path,
    camera: str,
    scenes: int,
    size: tuple[int, int],
    epochs: int,
    seed: int,
    device: torch.device,
    stage: Stage,
) -> DemoResult:
    raws, store, run, sample, report = (out / name for name in ("raws", "patches.h5", "run", "noisy.dng", "report"))
    with stage("simulate", "frames") as progress:
        manifest = simulate(raws, camera, None, scenes=scenes, size=size, seed=seed, progress=progress)
    with stage("ingest", "frames") as progress:
        ingest([raws], store, IngestOptions(seed=seed), progress=progress)
    with PatchStore(store) as patches:
        with stage("fit", "steps") as progress:
            settings = FitSettings(epochs=epochs, seed=seed, device=str(device))
            result = fit(patches, spec_for(patches, MODEL), run, settings, progress=progress)
        held_out = patches.scenes[int(patches.table["scene"][patches.indices("test")[0]])]
        scene = next(each for each in manifest["scenes"] if f"{each['name']}_ISO{float(each['iso']):g}" == held_out)
        clean = read_raw(raws / scene["clean"])
        model = result.model.to(device)
        write_frame(sample, sample_frame(model, clean, seed=seed))
        with stage("evaluate", "%") as progress:
            part = in_stages(progress, evaluation_costs(patches, "test", None))
            models = {MODEL: model}
            fitted = baselines(patches, models, part("baselines"))
            models |= {name: each.to(device) for name, each in fitted.items()}
            evaluation = evaluate(models, patches, seed=seed, progress=part("evaluation"))
            write_report(evaluation, report, progress=part("figures"))
    return DemoResult(evaluation, raws, store, run, sample, report)

"""Foreign models and methods in one table: simulate a camera, import, draw and score them all.

python -m tools.studies.judging.referee /tmp/referee-table --shared ../shared/data

The camera is of known physics (Tukey-lambda read noise, row noise), so that the truth stands in the table too.  Models
whose files are not at hand are left out.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from noiseflow.calibrate import write_profile
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.evaluate.benchmark.page import markdown
from noiseflow.evaluate.benchmark.run_benchmark import benchmark
from noiseflow.evaluate.benchmark.spec import read_spec
from noiseflow.evaluate.samples.task import write_clean_patches
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.simulate import load_camera, simulate

CAMERA, ISO = "Sony A7S2", 1600.0
NAME = f"Simulated {CAMERA}"
DARKS = 1e-9
"""Light of a dark frame, of the scenes' own."""

SPEC = """title = "The referee"
max_patches = {patches}
metrics = ["judges", "proper_scores"]
[[data]]
name = "Simulated A7S2"
store = "patches.h5"
{models}"""

AT_HAND = {
    "own profile as eld": 'run = "own.json"',
    "DNG NoiseProfile": 'foreign = {{ path = "scenes/000_wedge_ISO1600_NOISY_000.dng" }}',
    "dark frames": 'foreign = {{ path = "darks", gain = {gain} }}',
    "spectral": 'foreign = {{ path = "darks", format = "spectral", gain = {gain} }}',
    "numpy sampler": 'samples = "samples"',
    "nlf": "",
}
SHARED = {
    "ELD Sony A7S2": 'foreign = {{ path = "{shared}/params/eld_camera_params.json", camera = "SonyA7S2", '
    'black = 512, rename = {{ SonyA7S2 = "{name}" }} }}',
    "Noise Flow S6": 'foreign = {{ path = "{shared}/published/noise_flow_weights.npz", rename = {{ S6 = "{name}" }} }}',
    "Noise2NoiseFlow S6": 'foreign = {{ path = "{shared}/published/n2nf_weights.npz", rename = {{ S6 = "{name}" }} }}',
    "SIDD NLF S6": 'foreign = {{ path = "{shared}/params/cam_iso_nlf.txt", camera = "S6", '
    'rename = {{ S6 = "{name}" }} }}',
}
"""Models by the name of their row: entries of a benchmark's spec."""


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--shared", type=click.Path(path_type=Path), help="Folder of published weights and parameters.")
@click.option("--scenes", type=click.IntRange(min=9), default=40, show_default=True)
@click.option("--patches", type=click.IntRange(min=100), default=400, show_default=True, help="Scored at most.")
def main(out: Path, shared: Path | None, scenes: int, patches: int) -> None:
    """Write scenes, samples, reports and the table into OUT; print the table."""
    out.mkdir()
    simulate(out / "scenes", CAMERA, [ISO], scenes=scenes, size=(128, 192), seed=1)
    simulate(out / "all-darks", CAMERA, [ISO], scenes=9, size=(256, 256), seed=2, light=DARKS)
    (out / "darks").mkdir()
    for path in (out / "all-darks").glob("*_NOISY_*.dng"):
        # Without the clean twins, which are no frames of a camera.
        shutil.copy(path, out / "darks")
    ingest([out / "scenes"], out / "patches.h5", IngestOptions(patch_size=32, fractions=(0.4, 0.0, 0.6)), jobs=1)
    with PatchStore(out / "patches.h5") as store:
        write_clean_patches(store, out / "task")
    _sample(out)
    write_profile(replace(shipped_profile(CAMERA), camera=NAME), out / "own.json")
    gain = load_camera(CAMERA).at(ISO).gain_dn_per_e
    known = AT_HAND | (SHARED if shared is not None else {})
    models = "".join(
        f'[[model]]\nname = "{name}"\n'
        + entry.format(shared=None if shared is None else shared.resolve(), name=NAME, gain=gain)
        + "\n"
        for name, entry in known.items()
    )
    (out / "referee.toml").write_text(SPEC.format(patches=patches, models=models), encoding="utf-8")
    spec = read_spec(out / "referee.toml")
    click.echo(markdown(spec, benchmark(spec, out / "results")))


def _sample(out: Path) -> None:
    """What somebody's program would do: a Gaussian of the right variance, drawn by NumPy for the clean patches."""
    camera = load_camera(CAMERA)
    clean = np.load(out / "task" / "clean.npy").astype(np.float64)
    span = camera.white_dn - camera.black_dn
    dark = camera.read_sigma_dn(ISO) ** 2 + camera.at(ISO).row_sigma_dn ** 2
    sigma = np.sqrt(camera.at(ISO).gain_dn_per_e * clean.clip(0) * span + dark) / span
    noise = np.random.default_rng(3).normal(size=clean.shape) * sigma
    task = json.loads((out / "task" / "task.json").read_text(encoding="utf-8"))
    said = {"clean_sha256": task["clean_sha256"], "name": "numpy", "before_rounding": True}
    (out / "samples").mkdir()
    np.save(out / "samples" / "noise.npy", noise.astype(np.float32))
    (out / "samples" / "samples.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Golden files: a small model, store, profile and run of every kind and schema, and the numbers that come of them.

    python -m tools.checks.golden tests/project/golden --only glow

They are written once, when a kind or schema is new, and kept: a version that reads other numbers from them must say so
in the changelog.  What stands there already is left as it is.  Files of earlier schemas were written by the versions
that had them (`tests/project/golden/README.md`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from noiseflow.calibrate import read_profile
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.core.errors import ModelError
from noiseflow.core.output.whole import whole_file
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, NoiseModel, TemporalNoise, build, from_profile, load, save, temporal_spec
from noiseflow.patches import PatchStore

__all__ = ["MODELS_MADE", "NUMBERS", "numbers_of_model", "numbers_of_profile", "numbers_of_store"]

NUMBERS = "golden.safetensors"
"""File of a model's or run's folder with the numbers; beside a store or profile it has their name."""

CAMERAS, ISOS = ("A", "B"), (100.0, 400.0)

Numbers = dict[str, torch.Tensor]


def _trained(name: str, layout: str = "bayer", **options: object) -> Callable[[], NoiseModel]:
    """A model of a spec, every parameter moved by N(0, 0.1²): no factor is 1 and no shift 0."""

    def made() -> NoiseModel:
        return _moved(build(ModelSpec(name, layout, CAMERAS, ISOS, options)))

    return made


def _moved(model: NoiseModel) -> NoiseModel:
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    return model.eval()


def _physics(name: str, camera: str = "PG-12") -> Callable[[], NoiseModel]:
    return lambda: from_profile(name, shipped_profile(camera))


def _of_darks(kind: str) -> Callable[[], NoiseModel]:
    def made() -> NoiseModel:
        from noiseflow.models.physics.dark_frame import dark_frame_model

        profile, rng = shipped_profile("PG-12"), np.random.default_rng(0)
        frames = [np.rint(rng.normal(256, 3, (4, 24, 24))).astype(np.uint16) for _ in range(4)]
        return dark_frame_model(profile, {float(profile.settings[0].iso): frames}, kind=kind)

    return made


def _temporal() -> NoiseModel:
    parts = ("dark_pattern", "response_pattern", "black_drift", "light_flicker")
    return _moved(build(temporal_spec(ModelSpec("nlf", "bayer", CAMERAS, ISOS), parts)))


MODELS_MADE: Mapping[str, Callable[[], NoiseModel]] = {
    "gaussian": _trained("gaussian"),
    "nlf": _trained("nlf"),
    "noise_flow": _trained("noise_flow", architecture="sdn5|unc|gain4|unc"),
    "physics_flow": _trained("physics_flow", couplings=2, bins=4, width=4, odd_spline=True),
    "realnvp": _trained("realnvp", couplings=2, width=4),
    "glow": _trained("glow", scales=1, steps=2, width=4),
    "maf": _trained("maf", blocks=1, width=4),
    "iaf": _trained("iaf", blocks=1, width=4),
    "flow": _trained("flow", layers=[{"name": "shot_read_scale"}, {"name": "conv1x1"}, {"name": "actnorm"}]),
    "poisson_gaussian": _physics("poisson_gaussian"),
    "poisson_gaussian_exact": _physics("poisson_gaussian_exact"),
    "eld": _physics("eld"),
    "dark_frame": _of_darks("dark_frame"),
    "spectral": _of_darks("spectral"),
    "temporal": _temporal,
}
"""How a small one of each registered model is made.  A new model gets a line."""


def numbers_of_model(model: NoiseModel) -> Numbers:
    """Inputs, and the densities and samples of a model in float64, for each of its cameras at its lowest ISO.

    Parameters
    ----------
    model : NoiseModel
        Loaded from its folder.

    Returns
    -------
    dict of str to Tensor
        ``clean`` and ``noise``, (B, C, 8, 8); ``sample``, alike; ``log_prob``, (B,), where there is a density.
        Of a temporal model, one sequence of two frames with B = 2.
    """
    model = model.double().eval()
    count, draw = max(2, len(model.cameras)), torch.Generator().manual_seed(1)
    clean = 0.02 + 0.6 * torch.rand(count, model.planes, 8, 8, generator=draw, dtype=torch.float64)
    camera = torch.arange(count) % max(1, len(model.cameras))
    cond = Conditions(clean=clean, iso=torch.full((count,), model.iso_range[0], dtype=torch.float64), camera=camera)
    generator = torch.Generator().manual_seed(2)
    noise = 0.01 * torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    with torch.no_grad():
        if isinstance(model, TemporalNoise):
            sample = model.sample_sequence(clean[None, :2], model.iso_range[0], source=generator)
            density = model.log_prob_of_sequence(noise[None, :2], clean[None, :2], model.iso_range[0])
            return {"clean": clean, "noise": noise, "sample": sample, "log_prob": density}
        numbers = {"clean": clean, "noise": noise, "sample": model.sample(cond, generator=generator)}
        try:
            numbers["log_prob"] = model.log_prob(noise, cond)
        except ModelError as error:
            if "no density" not in str(error):
                raise
    return numbers


def numbers_of_store(path: Path) -> Numbers:
    """All patches of a store as they are read, with their levels, ISO, split, mask and place."""
    with PatchStore(path) as store:
        store.verify()
        rows = np.arange(len(store))
        noisy, clean = store.codes(rows)
        table = store.table
        found: dict[str, NDArray[Any]] = {
            name: table[name].astype(np.float64) for name in ("iso", "black", "white", "split", "camera", "scene")
        }
        masked = store.masked(rows) if store.has_masks else None
        if masked is not None:
            found["masked"] = masked.astype(np.uint8)
        found |= {"noisy": noisy.astype(np.int32), "clean": clean}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()}


def numbers_of_profile(path: Path) -> Numbers:
    """Value, error and interval of every measurement of a profile."""
    profile = read_profile(path)
    return {
        f"{index} {setting.iso:g} {setting.plane} {name}": torch.tensor(
            [each.value, each.standard_error, *each.interval], dtype=torch.float64
        )
        for index, setting in enumerate(profile.settings)
        for name, each in setting.estimates.items()
    }


def _write(numbers: Numbers, path: Path) -> None:
    with whole_file(path) as partial:
        save_file({name: value.contiguous() for name, value in numbers.items()}, str(partial))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--only", type=click.Choice(list(MODELS_MADE)), multiple=True, help="Only this model.")
def main(folder: Path, only: tuple[str, ...]) -> None:
    """Write the golden files of FOLDER that are not there yet."""
    for name in only or MODELS_MADE:
        place = folder / "models" / name
        if not place.exists():
            save(MODELS_MADE[name](), place)
    for place in sorted([*folder.glob("models/*"), *folder.glob("runs/*")]):
        if not (place / NUMBERS).exists():
            _write(numbers_of_model(load(place)), place / NUMBERS)
            click.echo(place)
    for kind, suffix, numbers in (
        ("stores", ".h5", numbers_of_store),
        ("profiles", ".json", numbers_of_profile),
    ):
        for path in sorted(folder.glob(f"{kind}/*{suffix}")):
            if not path.with_suffix(".safetensors").exists():
                _write(numbers(path), path.with_suffix(".safetensors"))
                click.echo(path)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{size / 1e3:.0f} kB in all")


if __name__ == "__main__":
    main()

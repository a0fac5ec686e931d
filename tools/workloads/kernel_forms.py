"""Write the list of the kernels that a wheel carries: those that the models of the registry take.

    python -m tools.workloads.kernel_forms

The list is ``noiseflow/ops/libraries/forms.json``; ``setup.py`` builds what stands there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import click
import torch

from noiseflow.flows import Conditions
from noiseflow.models import ModelSpec, NoiseModel, build
from noiseflow.ops import native
from noiseflow.ops.libraries.command import FORMS
from noiseflow.ops.random.sampling import Keyed

MODELS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("noise_flow", {}),
    ("physics_flow", {}),
    ("physics_flow", {"row_flicker": True}),
    ("physics_flow", {"couplings": 4}),
    ("physics_flow", {"couplings": 4, "width": 16}),
    # The defaults of earlier versions.
    ("physics_flow", {"couplings": 4, "width": 16, "odd_spline": False}),
    ("glow", {}),
    ("flow", {}),
)
"""Model and options; each of four planes, and of one where it takes one."""


def forms() -> list[dict[str, Any]]:
    """Files and macros of each library, in the order of the models."""
    found: list[dict[str, Any]] = []

    def record(files: Sequence[str], macros: Mapping[str, int | float]) -> None:
        form = {"files": list(files), "macros": dict(macros)}
        if form not in found:
            found.append(form)

    with mock.patch.object(native, "build", record):
        native._built.cache_clear()
        for model in built():
            use(model)
    native._built.cache_clear()
    return found


def built() -> Iterator[NoiseModel]:
    """The models."""
    for name, options in MODELS:
        for layout in ("bayer", "mono") if name != "noise_flow" else ("bayer",):
            yield build(ModelSpec(name, layout=layout, options=options))


def use(model: NoiseModel) -> None:
    """Train, evaluate and sample a model once."""
    generator = torch.Generator().manual_seed(0)
    cond = Conditions(clean=torch.full((2, model.planes, 8, 8), 0.2), iso=100.0, camera=model.cameras[0])
    noise = torch.randn(2, model.planes, 8, 8, generator=generator) * 0.01
    with native.compiled():
        loss = model.train().log_prob(noise, cond).sum()
        if loss.requires_grad:
            loss.backward()
        with torch.no_grad():
            model.eval().log_prob(noise, cond)
            model.sample(cond, generator=generator)
            model.sample(cond, generator=Keyed(0, (0, 1)))


@click.command()
def main() -> None:
    """Write the list."""
    FORMS.write_text("[\n" + ",\n".join(f"  {json.dumps(form)}" for form in forms()) + "\n]\n", encoding="utf-8")
    click.echo(f"{FORMS}: {len(forms())} libraries")


if __name__ == "__main__":
    main()

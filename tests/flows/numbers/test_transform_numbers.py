"""Numbers of every transform at random parameters, beside those that this version was released with.

A round trip and a log-determinant that fits say nothing of which law a transform is: these do.
"""

from pathlib import Path

import torch
from torch import Tensor
from transform_table import TRANSFORMS, as_dtype, conditions, made, noise_like

from noiseflow.flows import Conditions
from tools.checks.pinned import assert_pinned

HERE = Path(__file__).parent
SCALES = (1.0, 0.2, 3.0, 12.0, 40.0)
"""Of the noise of each element: within the bulk and far out in the tails."""


def inputs(planes: int, height: int, width: int) -> tuple[Tensor, Conditions]:
    """Noise at several scales and signals from below black to above white, at ISOs between, at and beyond knots."""
    cond = conditions(5, planes, height, width)
    x = noise_like(cond) * torch.tensor(SCALES, dtype=torch.float64)[:, None, None, None]
    return x, Conditions(1.5 * cond.clean - 0.1, cond.iso, cond.camera)


def test_every_transform_gives_the_numbers_that_it_gave() -> None:
    found = {}
    for name, case in TRANSFORMS.items():
        transform = made(case)
        x, cond = inputs(case.planes, *case.sizes[-1])
        with torch.no_grad():
            z, log_det = transform(x, cond)
            back = transform.inverse(x, cond)
            narrow = transform.float()(x.float(), as_dtype(cond, torch.float32))[1]
        found[name] = {
            "z": projected(z),
            "inverse": projected(back),
            "log_det": log_det.tolist(),
            "float32": narrow.tolist(),
        }
    assert_pinned(found, HERE / "transforms.json", tolerance=1e-4, small=1e-4)


def projected(values: Tensor) -> list[float]:
    """One number of each element, in which every pixel and plane has another weight."""
    return (values.flatten(1) @ torch.linspace(-1, 2, values[0].numel(), dtype=values.dtype).sin()).tolist()

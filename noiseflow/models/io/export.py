"""Export of a model's sampling pass to ONNX or torch.export."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.core.output.checks import check_output, writing
from noiseflow.core.output.whole import write_bytes
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.flow import Flow
from noiseflow.flows.transform import Transform
from noiseflow.models.closed_form.gaussian import Gaussian, GaussianModel
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.io.graphs import GRAPHS, free_sizes
from noiseflow.models.model import NoiseModel
from noiseflow.models.physics.profile_models import PoissonGaussian

__all__ = ["INPUTS", "SAMPLERS", "export_sampler", "latent_sampler"]

INPUTS = ("clean", "iso", "camera", "z")
"""Input names of an exported sampler; its output is ``noise``."""

Sampler = Callable[[Tensor, Resolved], Tensor]
"""Function of base noise z and resolved conditions that returns noise, (B, C, H, W)."""


def _gaussian(model: NoiseModel) -> Sampler:
    assert isinstance(model, Gaussian)
    return lambda z, cond: z * (0.5 * model.log_variance).exp()


def _by_variance(model: NoiseModel) -> Sampler:
    assert isinstance(model, GaussianModel)
    return lambda z, cond: z * model.variance(cond).sqrt()


SAMPLERS: dict[type[NoiseModel], Callable[[NoiseModel], Sampler]] = {
    Gaussian: _gaussian,
    NoiseLevelFunction: _by_variance,
    PoissonGaussian: _by_variance,
}
"""Model class without a flow → function that returns its sampler, a map of standard normal noise."""


def latent_sampler(model: NoiseModel) -> Sampler:
    """The map from standard normal noise to noise that `model.sample` applies at temperature 1.

    Raises
    ------
    ModelError
        The model samples from other random numbers, or sequentially.
    """
    if type(model) in SAMPLERS:
        return SAMPLERS[type(model)](model)
    flow = getattr(model, "flow", None)
    if not isinstance(flow, Flow):
        raise ModelError(
            f"{model.spec.model}: cannot be exported, because it does not sample by a map of normal random numbers; "
            "expected a flow, nlf, gaussian or poisson_gaussian"
        )
    if flow.sequential_inverse:
        raise ModelError(
            f"{model.spec.model}: samples sequentially, in steps whose number depends on the frame, which a graph "
            "cannot express; distil it (noiseflow distill) and export the student"
        )
    return flow.inverse


def _make_exportable(module: nn.Module) -> None:
    for name, child in module.named_children():
        exportable = child.exportable() if isinstance(child, Transform) else child
        if exportable is not child:
            setattr(module, name, exportable)
        else:
            _make_exportable(child)


class _Exported(nn.Module):
    def __init__(self, model: NoiseModel) -> None:
        super().__init__()
        self.model = model
        self.sampler = latent_sampler(model)

    def forward(self, clean: Tensor, iso: Tensor, camera: Tensor, z: Tensor) -> Tensor:
        count = len(self.model.cameras)
        noise = self.sampler(z, Resolved(clean, iso, camera.clamp(0, count - 1)))
        # A graph cannot raise errors, so it returns NaN for an invalid ISO or camera.
        known = (iso > 0) & (camera >= 0) & (camera < count)
        return torch.where(known[:, None, None, None], noise, torch.nan)


def export_sampler(model: NoiseModel, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write the sampling pass of a model as a graph for any batch, height and width.

    Inputs: ``clean`` (B, C, H, W), normalised; ``iso`` (B,); ``camera`` (B,) int64, the index in
    ``model.cameras``; ``z`` (B, C, H, W), standard normal numbers, multiplied by the temperature if it is not 1.
    Output: ``noise`` (B, C, H, W), normalised.  All are float32 except the camera.  The random numbers are an
    input, so that outputs can be compared.  The graph cannot raise errors: an ISO of 0 or less and a camera index
    out of range give NaN.  For ``glow``, height and width must be multiples of its period.  The period is in the
    metadata of the graph, together with the names of model, layout and cameras.  A ``.pt2`` program needs batches
    of 2 or more, and heights and widths of at least 2 periods.

    Parameters
    ----------
    model : NoiseModel
        Model to export; it is not changed.
    path : path
        File to write.  Its suffix selects the format: ``.onnx``, or ``.pt2`` for `torch.export.load`, with the
        metadata in ``noiseflow.json``.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ModelError
        The model cannot be exported, `path` has another suffix, or the extra ``[export]``, which ONNX needs, is not
        installed.
    OutputError
        `path` exists and may not be replaced, or was not written by noiseflow.
    """
    path = Path(path)
    if path.suffix.lower() not in GRAPHS:
        raise ModelError(f"{path}: expected a file name that ends in {' or '.join(GRAPHS)}")
    check_output(path, overwrite=overwrite)
    latent_sampler(model)
    exported = copy.deepcopy(model).float().cpu().eval().requires_grad_(False)
    _make_exportable(exported)
    period = exported.flow.cell if isinstance(exported, FlowModel) else 1
    about = {"model": model.spec.model, "layout": model.spec.layout, "cameras": "\n".join(model.cameras)}
    with writing(path, overwrite=overwrite):
        made = GRAPHS[path.suffix.lower()]
        graph = made(_Exported(exported), *_example(exported.planes, period), "noise", about | {"period": str(period)})
        write_bytes(path, graph, replace=overwrite)
    return path


def _example(planes: int, period: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Example inputs for tracing, and their dynamic sizes."""
    clean = torch.full((2, planes, 8 * period, 9 * period), 0.1)
    inputs = (clean, torch.full((2,), 100.0), torch.zeros(2, dtype=torch.long), torch.zeros_like(clean))
    batch, height, width = free_sizes()
    frame = {0: batch, 2: period * height if period > 1 else height, 3: period * width if period > 1 else width}
    sizes = (frame, {0: batch}, {0: batch}, frame)
    return dict(zip(INPUTS, inputs, strict=True)), dict(zip(INPUTS, sizes, strict=True))

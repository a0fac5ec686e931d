"""Export of a photo denoiser as a graph."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.augment.denoise.network import PhotoDenoiser
from noiseflow.augment.denoise.stabilise import stabilised, unstabilised
from noiseflow.core.errors import ModelError
from noiseflow.core.output.checks import check_output, writing
from noiseflow.core.output.whole import write_bytes
from noiseflow.models.io.graphs import GRAPHS, free_sizes

__all__ = ["INPUTS", "export_photo_denoiser"]

INPUTS = ("noisy", "slope", "offset", "floor")
"""Input names of an exported denoiser, as in `PhotoDenoiser.forward`; its output is ``clean``."""


class _Exported(nn.Module):
    """The denoiser for planes whose height and width are multiples of its period, so that nothing is padded."""

    def __init__(self, denoiser: PhotoDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, noisy: Tensor, slope: Tensor, offset: Tensor, floor: Tensor) -> Tensor:
        signal = stabilised(noisy, slope, offset)
        inputs = self.denoiser.features(noisy, signal, slope, offset, floor)
        return unstabilised(signal - self.denoiser.residual(inputs), slope, offset)


def export_photo_denoiser(denoiser: PhotoDenoiser, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a photo denoiser as a graph for any batch, and for heights and widths that are multiples of 8.

    Inputs: ``noisy`` (B, 4, H, W), and ``slope``, ``offset`` and ``floor`` (B, 4, 1, 1), all float32, as in
    `PhotoDenoiser.forward`.  Output: ``clean`` (B, 4, H, W).  Pad a frame by repeating its border.

    Parameters
    ----------
    denoiser : PhotoDenoiser
        Network to export; it is not changed.
    path : path
        File to write: ``.onnx``, or ``.pt2`` for `torch.export.load`.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ModelError
        `path` has another suffix, or the extra ``[export]``, which ONNX needs, is not installed.
    OutputError
        `path` exists and may not be replaced, or was not written by noiseflow.
    """
    path = Path(path)
    if path.suffix.lower() not in GRAPHS:
        raise ModelError(f"{path}: expected a file name that ends in {' or '.join(GRAPHS)}")
    check_output(path, overwrite=overwrite)
    exported = _Exported(copy.deepcopy(denoiser).float().cpu().eval().requires_grad_(False))
    with writing(path, overwrite=overwrite):
        about = {"model": "photo denoiser", "layout": "bayer", "period": str(denoiser.multiple)}
        graph = GRAPHS[path.suffix.lower()](exported, *_example(denoiser.multiple), "clean", about)
        write_bytes(path, graph, replace=overwrite)
    return path


def _example(multiple: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    batch, height, width = free_sizes()
    line = torch.full((2, 4, 1, 1), 1e-4)
    examples = (torch.full((2, 4, 3 * multiple, 4 * multiple), 0.1), line, line.clone(), -line)
    shapes = ({0: batch, 2: multiple * height, 3: multiple * width}, {0: batch}, {0: batch}, {0: batch})
    return dict(zip(INPUTS, examples, strict=True)), dict(zip(INPUTS, shapes, strict=True))

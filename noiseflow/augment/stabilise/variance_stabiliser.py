"""`VarianceStabiliser`: the generalised Anscombe transform of a model's noise, with its exact unbiased inverse."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, poisson
from torch import Tensor, nn

from noiseflow.augment.noise_level import noise_profile
from noiseflow.augment.stabilise.curve_stabiliser import CurveStabiliser, stabiliser_of_curve
from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.whole import write_bytes
from noiseflow.models.capabilities import linear_variance, of_one_frame
from noiseflow.models.io.graphs import onnx_bytes
from noiseflow.models.model import NoiseModel
from noiseflow.raw.bayer import plane_names

__all__ = ["VarianceStabiliser", "export_stabiliser", "stabiliser_of"]

Array = NDArray[np.float64]

FEW_ELECTRONS = 100.0
"""Up to here the inverse is a table; beyond, its asymptotic form errs by less than 1e-5 electrons."""

TABLE = 4096
"""Entries of the table, even in the transformed signal."""

ANSCOMBE = 3 / 8


class VarianceStabiliser(nn.Module):
    """Make the noise of a raw frame one of variance 1 everywhere, and come back without bias.

    For var = β₁·s + β₂, f(x) = (2/β₁)·√(max(β₁·x + ⅜·β₁² + β₂, 0)).  The variance of f(x) is 1 within 2 % from
    about 12 electrons on, and up to 1.045 at 3 to 8 electrons where the read noise is about one.

    The inverse solves E f(x) = D for the expected signal, by the Poisson sum with normal read noise.  It is for the
    *denoised* D: the algebraic inverse of a mean is too low by ¼ electron and more.

    Parameters
    ----------
    slope, offset : Tensor, shape (C,)
        β₁ and β₂ of the normalised signal, by plane.

    References
    ----------
    Mäkitalo, Foi: Optimal inversion of the generalized Anscombe transformation for Poisson-Gaussian noise, IEEE
    Transactions on Image Processing 22, 2013.
    """

    slope: Tensor
    offset: Tensor
    start: Tensor
    step: Tensor
    table: Tensor

    def __init__(self, slope: Tensor, offset: Tensor) -> None:
        super().__init__()
        if slope.shape != offset.shape or slope.ndim != 1:
            raise DataError(f"slope {tuple(slope.shape)} and offset {tuple(offset.shape)}: expected both of shape (C,)")
        if not bool((slope > 0).all() and (offset >= 0).all()):
            raise DataError("a variance β₁·s + β₂ needs slopes above 0 and offsets of 0 or above")
        self.register_buffer("slope", slope.detach().float()[:, None, None].clone())
        self.register_buffer("offset", offset.detach().float()[:, None, None].clone())
        found = [_inverse_table(float(o) / float(s) ** 2) for s, o in zip(slope.double(), offset.double(), strict=True)]
        for name, values in zip(("start", "step", "table"), zip(*found, strict=True), strict=True):
            each = torch.as_tensor(np.array(values), dtype=torch.float32)
            self.register_buffer(name, each if name == "table" else each[:, None, None])

    @property
    def planes(self) -> int:
        """Planes of a frame."""
        return len(self.slope)

    def forward(self, noisy: Tensor) -> Tensor:
        """Stabilise a normalised signal, (..., C, H, W), to noise of variance 1."""
        inside = self.slope * noisy + ANSCOMBE * self.slope.square() + self.offset
        return 2 / self.slope * inside.clamp(min=0).sqrt()

    def inverse(self, denoised: Tensor) -> Tensor:
        """Expected signal, normalised, whose stabilised frame has the mean `denoised`, (..., C, H, W); not below 0."""
        place = ((denoised - self.start) / self.step).clamp(min=0.0).clamp(max=TABLE - 1.001)
        low = place.floor()
        planes = torch.arange(len(self.table), device=denoised.device)[:, None, None]
        at = low.long() + planes * TABLE
        flat = self.table.reshape(-1)
        few = flat[at] + (place - low) * (flat[at + 1] - flat[at])
        # Beyond the table: the asymptotic form.
        d = denoised.clamp(min=2.0)
        root = (3 / 2) ** 0.5
        many = d.square() / 4 + root / 4 / d - 11 / 8 / d.square() + 5 / 8 * root / d.pow(3) - 1 / 8
        many = many - self.offset / self.slope.square()
        end = self.start + (TABLE - 2) * self.step
        return self.slope * torch.where(denoised < end, few, many)


@lru_cache(maxsize=16)
def _inverse_table(read_variance: float) -> tuple[float, float, Array]:
    """Electrons at even steps of the transformed signal: its first value, the step, and the table (TABLE,).

    `read_variance` is in e⁻².
    """
    sigma = read_variance**0.5
    counts = np.arange(0, int(FEW_ELECTRONS + 20 * FEW_ELECTRONS**0.5))
    z = np.linspace(-7, 7, 701)
    weight = norm.pdf(z)
    weight /= weight.sum()
    inside = counts[:, None] + sigma * z + ANSCOMBE + read_variance
    of_count = 2 * np.sqrt(np.maximum(inside, 0)) @ weight
    electrons = FEW_ELECTRONS * np.linspace(0, 1, 2000) ** 2
    mean = poisson.pmf(counts, electrons[:, None]) @ of_count
    values = np.linspace(mean[0], mean[-1], TABLE)
    return float(mean[0]), float(values[1] - values[0]), np.interp(values, mean, electrons)


def stabiliser_of(model: NoiseModel, iso: float, camera: str | None = None) -> VarianceStabiliser | CurveStabiliser:
    """The transform for a model's noise at one ISO.

    Of a model whose variance is a line in the signal it is the generalised Anscombe transform, of any other that of
    the model's own curve.

    Parameters
    ----------
    model : NoiseModel
        A fitted model, or one of a camera's profile.
    iso : float
        ISO of the frames.
    camera : str, optional
        One of the model's; its only one if None.

    Examples
    --------
    >>> import noiseflow
    >>> stabiliser = stabiliser_of(noiseflow.load("sony-a7s2"), iso=1600)
    >>> denoised = stabiliser(torch.full((4, 8, 8), 0.2))
    >>> stabiliser.inverse(denoised).shape
    torch.Size([4, 8, 8])
    """
    if camera is None:
        if len(model.cameras) > 1:
            raise ModelError(f"the model has the cameras {', '.join(model.cameras)}; say which")
        camera = model.cameras[0]
    if linear_variance(of_one_frame(model)) is None:
        return stabiliser_of_curve(of_one_frame(model), iso, camera)
    pairs = noise_profile(model, iso, camera)
    if len(pairs) == 3:
        pairs = tuple(pairs["RGB".index(name[0])] for name in plane_names(model.spec.layout))
    lines = torch.tensor(pairs * (model.planes // len(pairs)), dtype=torch.float64)
    return VarianceStabiliser(lines[:, 0], lines[:, 1])


class _Inverse(nn.Module):
    def __init__(self, stabiliser: VarianceStabiliser | CurveStabiliser) -> None:
        super().__init__()
        self.stabiliser = stabiliser

    def forward(self, denoised: Tensor) -> Tensor:
        result: Tensor = self.stabiliser.inverse(denoised)
        return result


def export_stabiliser(
    stabiliser: VarianceStabiliser | CurveStabiliser,
    path: str | Path,
    *,
    inverse: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write the transform, or its inverse, as an ONNX graph for any batch, height and width.

    Parameters
    ----------
    stabiliser : VarianceStabiliser or CurveStabiliser
        For one camera and ISO.
    path : path
        File with the suffix ``.onnx``; input ``signal``, output ``result``, (B, C, H, W) float32.
    inverse : bool
        Write the unbiased inverse.
    overwrite : bool
        Whether a graph of ours may be replaced.

    Raises
    ------
    ModelError
        Another suffix, or the extra ``[export]`` is not installed.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"{path}: expected a file name that ends in .onnx")
    module = _Inverse(stabiliser) if inverse else stabiliser
    example = torch.full((2, stabiliser.planes, 8, 9), 5.0)
    about = {"what": "inverse of a variance-stabilising transform" if inverse else "variance-stabilising transform"}
    with writing(path, overwrite=overwrite):
        write_bytes(path, onnx_bytes(module.eval(), example, about), replace=overwrite)
    return path

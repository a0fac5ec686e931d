"""`VarianceStabiliser`: the generalised Anscombe transform for a model's noise, with its exact unbiased inverse."""

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
"""Signal in electrons up to which the inverse is a table; beyond, its asymptotic form errs by less than 1e-5 e⁻."""

TABLE = 4096
"""Number of entries of the table, at even steps of the transformed signal."""

ANSCOMBE = 3 / 8


class VarianceStabiliser(nn.Module):
    """Transform the noise of a raw frame to variance 1 everywhere, with an unbiased inverse.

    For the variance β₁·s + β₂, f(x) = (2/β₁)·√(max(β₁·x + ⅜·β₁² + β₂, 0)).  The variance of f(x) is 1 within 2 % from
    about 12 electrons, and up to 1.045 at 3 to 8 electrons if the read noise is about 1 e⁻.

    The inverse solves E f(x) = D for the expected signal, by a Poisson sum with normal read noise.  It must be applied
    to a *denoised* signal D.  The algebraic inverse of a mean would be too low by ¼ electron or more.

    Parameters
    ----------
    slope, offset : Tensor, shape (C,)
        β₁ and β₂ of the normalised signal, for each plane.

    Raises
    ------
    DataError
        Different shapes, slopes that are not positive, or negative offsets.

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
            raise DataError("variance β₁·s + β₂: expected positive slopes β₁ and offsets β₂ of 0 or more")
        self.register_buffer("slope", slope.detach().float()[:, None, None].clone())
        self.register_buffer("offset", offset.detach().float()[:, None, None].clone())
        found = [_inverse_table(float(o) / float(s) ** 2) for s, o in zip(slope.double(), offset.double(), strict=True)]
        for name, values in zip(("start", "step", "table"), zip(*found, strict=True), strict=True):
            each = torch.as_tensor(np.array(values), dtype=torch.float32)
            self.register_buffer(name, each if name == "table" else each[:, None, None])

    @property
    def planes(self) -> int:
        """Number of planes of a frame."""
        return len(self.slope)

    def forward(self, noisy: Tensor) -> Tensor:
        """Stabilise a normalised signal, (..., C, H, W), to noise of variance 1."""
        inside = self.slope * noisy + ANSCOMBE * self.slope.square() + self.offset
        return 2 / self.slope * inside.clamp(min=0).sqrt()

    def inverse(self, denoised: Tensor) -> Tensor:
        """Expected signal, normalised and not below 0, whose stabilised mean is `denoised`, (..., C, H, W)."""
        place = ((denoised - self.start) / self.step).clamp(min=0.0).clamp(max=TABLE - 1.001)
        low = place.floor()
        planes = torch.arange(len(self.table), device=denoised.device)[:, None, None]
        at = low.long() + planes * TABLE
        flat = self.table.reshape(-1)
        few = flat[at] + (place - low) * (flat[at + 1] - flat[at])
        # Beyond the table, use the asymptotic form of the inverse.
        d = denoised.clamp(min=2.0)
        root = (3 / 2) ** 0.5
        many = d.square() / 4 + root / 4 / d - 11 / 8 / d.square() + 5 / 8 * root / d.pow(3) - 1 / 8
        many = many - self.offset / self.slope.square()
        end = self.start + (TABLE - 2) * self.step
        return self.slope * torch.where(denoised < end, few, many)


@lru_cache(maxsize=16)
def _inverse_table(read_variance: float) -> tuple[float, float, Array]:
    """First value and step of the transformed signal, and the table of electrons at these steps, (TABLE,).

    `read_variance` is the variance of the read noise in units of (1 e⁻)².
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
    """Make the variance-stabilising transform for a model's noise at one ISO.

    If the model's variance is linear in the signal, this is the generalised Anscombe transform, otherwise a transform
    for the model's own variance curve.

    Parameters
    ----------
    model : NoiseModel
        A fitted model, or the model of a camera profile.
    iso : float
        ISO of the frames.
    camera : str, optional
        Camera of the model; may be None if it has only one.

    Returns
    -------
    VarianceStabiliser or CurveStabiliser
        The transform.

    Raises
    ------
    ModelError
        The model has several cameras and none is given.

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
            raise ModelError(f"the model has several cameras: choose one of {', '.join(model.cameras)}")
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
        Transform for one camera and ISO.
    path : path
        File to write, with the suffix ``.onnx``.  Input ``signal`` and output ``result``, (B, C, H, W), float32.
    inverse : bool
        Whether to write the unbiased inverse instead.
    overwrite : bool
        Whether an existing graph may be replaced.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ModelError
        `path` has another suffix, or the extra ``[export]`` is not installed.
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

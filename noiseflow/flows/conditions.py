"""The conditions of noise: clean signal, ISO, camera, and which pixels are observed."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import torch
from torch import Tensor

from noiseflow.core.errors import DataError, ModelError
from noiseflow.ops.readable import readable

__all__ = ["Conditions", "Resolved", "all_finite"]


@dataclass(frozen=True, eq=False)
class Conditions:
    """The conditions of a batch of noise: clean signal, ISO and camera, each per element.

    Parameters
    ----------
    clean : Tensor, shape (B, C, H, W)
        Clean signal, normalised: (DN − black) / (white − black).
    iso : Tensor of shape (B,), or float
        ISO speed; a number applies to all elements.
    camera : Tensor of long, shape (B,), or int, str, or sequence of int or str
        Camera indices of a model, or camera names; a single one applies to all elements.
    observed : Tensor of bool, shape (B, C, H, W), optional
        False where a pixel is masked (defective, moved, or clipped): its noise is unknown, and likelihoods leave it
        out.  If None, all pixels count.

    Examples
    --------
    >>> cond = Conditions(torch.zeros(2, 4, 8, 8), iso=800.0, camera="S6").resolve(("GP", "S6"))
    >>> cond.iso, cond.camera
    (tensor([800., 800.]), tensor([1, 1]))
    """

    clean: Tensor
    iso: Tensor | float
    camera: Tensor | int | str | Sequence[str] | Sequence[int] = 0
    observed: Tensor | None = None

    def resolve(self, cameras: Sequence[str]) -> "Resolved":
        """Check the conditions and return them with `iso` and `camera` as tensors of shape (B,).

        Parameters
        ----------
        cameras : sequence of str
            The model's camera names, in the order of its indices.

        Raises
        ------
        ModelError
            A camera that is not in `cameras`.
        DataError
            A mismatched shape or dtype, an ISO that is not positive and finite, or a clean signal that
            is not finite.
        """
        clean = self.clean if isinstance(self.clean, Tensor) else torch.as_tensor(self.clean)
        if not clean.is_floating_point():
            raise DataError(
                f"clean: expected floating point, (DN − black) / (white − black); got {clean.dtype}: normalise it first"
            )
        if clean.ndim != 4:
            raise DataError(f"clean: expected shape (B, C, H, W); got {tuple(clean.shape)}")
        if not clean[0:1].numel() and clean.shape[0]:
            raise DataError(f"clean: expected pixels; got shape {tuple(clean.shape)}")
        if not all_finite(clean):
            raise DataError("clean: expected finite values; got NaN or infinity: mask or drop those patches first")
        batch, device = clean.shape[0], clean.device
        if self.observed is not None and (self.observed.shape != clean.shape or self.observed.dtype != torch.bool):
            raise DataError(
                f"observed: expected bool of the shape of clean, {tuple(clean.shape)}; got {self.observed.dtype} "
                f"{tuple(self.observed.shape)}"
            )
        # ISOs are kept in float32 at least: the largest float16 is 65,504.
        real = torch.promote_types(clean.dtype, torch.float32)
        iso = torch.as_tensor(self.iso, dtype=real, device=device)
        camera = torch.as_tensor(_indices(self.camera, cameras), dtype=torch.long, device=device)
        for name, value in (("iso", iso), ("camera", camera)):
            if value.ndim > 1 or (value.ndim == 1 and value.shape[0] != batch):
                raise DataError(
                    f"{name}: expected one value or {batch}, one for each element; got {tuple(value.shape)}"
                )
        if readable():
            _check_values(iso, camera, cameras)
        return Resolved(clean, iso.expand(batch), camera.expand(batch), self.observed)

    def counts(self) -> Tensor:
        """Number of observed values of each element, float64, (B,)."""
        if self.observed is None:
            return self.clean.new_full((len(self.clean),), self.clean[0].numel(), dtype=torch.float64)
        return self.observed.sum((1, 2, 3)).double()


@dataclass(frozen=True, eq=False)
class Resolved(Conditions):
    """Checked conditions, as transforms and densities take them: the result of `Conditions.resolve`.

    Parameters
    ----------
    iso : Tensor, shape (B,)
        ISO of each element.
    camera : Tensor of long, shape (B,)
        Camera index of each element.
    """

    iso: Tensor
    camera: Tensor


def all_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite; True while tracing or compiling, where values cannot be read."""
    if not readable():
        return True
    # The sum is several times as fast to check.  It is finite only if all values are, but it may also overflow.
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def _check_values(iso: Tensor, camera: Tensor, cameras: Sequence[str]) -> None:
    if not (torch.isfinite(iso) & (iso > 0)).all():
        raise DataError(f"iso: expected positive numbers; got {iso.tolist()}")
    if ((camera < 0) | (camera >= len(cameras))).any():
        raise ModelError(f"camera index {camera.tolist()} is outside 0…{len(cameras) - 1} ({', '.join(cameras)})")


def _indices(camera: Any, cameras: Sequence[str]) -> Tensor | int | list[int]:
    if isinstance(camera, Tensor):
        return camera
    if isinstance(camera, str):
        return _index(camera, cameras)
    if hasattr(camera, "__index__") and not getattr(camera, "ndim", 0):
        return index(camera)
    return [_index(each, cameras) if isinstance(each, str) else index(each) for each in camera]


def _index(name: str, cameras: Sequence[str]) -> int:
    if name not in cameras:
        raise ModelError(f"camera {name!r} is not one this model was fitted for; it knows {', '.join(cameras)}")
    return list(cameras).index(name)

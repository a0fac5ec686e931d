"""`NoisyBatch`: the result of an augmentation, which can be collated, pinned and moved like a tensor."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

__all__ = ["NoisyBatch"]


@dataclass(eq=False)
class NoisyBatch:
    """Result of an augmentation: normalised tensors in the shape and dtype of its input.

    `torch.utils.data.default_collate` combines several: single elements are stacked, batches are concatenated.
    A DataLoader can pin it, and `to` moves it.

    Parameters
    ----------
    noisy : Tensor
        Clean signal plus noise, clipped and quantised if requested.
    clean : Tensor
        The training target for `noisy`: the input times `exposure`.
    noise_level : Tensor
        σ of the noise at each pixel, for networks with a noise-level input.
    iso, exposure : Tensor, shape (B,)
        ISO and exposure factor of each element, in float32 (float64 for float64 input).
    camera_index : Tensor of int64, shape (B,)
        Camera of each element, as an index into `cameras`.
    cameras : tuple of str
        Names of the cameras from which elements were drawn.
    """

    noisy: Tensor
    clean: Tensor
    noise_level: Tensor
    iso: Tensor
    exposure: Tensor
    camera_index: Tensor
    cameras: tuple[str, ...]

    @property
    def camera(self) -> tuple[str, ...]:
        """Name of the camera of each element."""
        return tuple(self.cameras[index] for index in self.camera_index.tolist())

    def to(self, *args: Any, **kwargs: Any) -> "NoisyBatch":
        """Move to a device, or convert the pictures to a dtype; arguments as in `Tensor.to`."""
        pictures = {name: getattr(self, name).to(*args, **kwargs) for name in ("noisy", "clean", "noise_level")}
        device, wait = pictures["noisy"].device, not kwargs.get("non_blocking", False)
        rest = {name: getattr(self, name).to(device, non_blocking=not wait) for name in PER_ELEMENT}
        return replace(self, **pictures, **rest)

    def pin_memory(self) -> "NoisyBatch":
        """Copy to pinned memory."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in TENSORS})


TENSORS = tuple(field.name for field in fields(NoisyBatch) if field.name != "cameras")
PER_ELEMENT = "iso", "exposure", "camera_index"


def _collate(batches: Sequence[NoisyBatch], *, collate_fn_map: Any = None) -> NoisyBatch:
    """Combine several into one batch: stack single elements, concatenate batches."""
    join = torch.stack if batches[0].noisy.ndim == 3 else torch.cat
    pictures = {name: join([getattr(each, name) for each in batches]) for name in ("noisy", "clean", "noise_level")}
    per_element = {name: torch.cat([getattr(each, name) for each in batches]) for name in ("iso", "exposure")}
    cameras = tuple(dict.fromkeys(name for each in batches for name in each.cameras))
    places = [torch.tensor([cameras.index(name) for name in each.cameras]) for each in batches]
    index = torch.cat(
        [place.to(each.camera_index.device)[each.camera_index] for place, each in zip(places, batches, strict=True)]
    )
    return NoisyBatch(**pictures, **per_element, camera_index=index, cameras=cameras)


default_collate_fn_map[NoisyBatch] = _collate

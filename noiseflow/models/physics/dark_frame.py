"""Poisson shot noise with real dark frames as read noise."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.calibrate.profiles.profile import Profile
from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import ModelSpec, build, register
from noiseflow.models.physics.profile_models import PROFILE_OPTION, _Counting, spec_from_profile
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Keyed, Source, Stream
from noiseflow.ops.random.spread import Spread

__all__ = ["DarkFrame", "dark_frame_model", "size_of"]


def dark_frame_model(
    profile: Profile,
    frames: Mapping[float, Sequence[NDArray[Any]]],
    layout: str | None = None,
    kind: str = "dark_frame",
) -> "DarkFrame":
    """Build a `DarkFrame` model from a profile and dark frames, in evaluation mode.

    Parameters
    ----------
    profile : Profile
        Profile with gain and black level.
    frames : mapping of float to sequence of ndarray of integers, shape (C, H, W)
        ISO → dark frames as packed planes in DN.
    layout : str, optional
        Plane layout; if None, that of the profile.
    kind : str
        ``"dark_frame"`` for crops of the frames, or ``"spectral"`` for noise with their spectrum (`Spectral`).

    Returns
    -------
    DarkFrame
        The model.

    Raises
    ------
    DataError
        No frames, or frames of different shapes.
    """
    spec = spec_from_profile(kind, profile, layout)
    stacks: dict[str, Tensor] = {}
    for iso, of_iso in frames.items():
        shapes = {frame.shape for frame in of_iso}
        if len(shapes) != 1 or next(iter(shapes))[:1] != (spec.planes,):
            raise DataError(
                f"dark frames at ISO {iso:g}: expected one shape ({spec.planes}, H, W); got {shapes or 'none'}"
            )
        stacks[f"{iso:g}"] = torch.from_numpy(np.stack([np.asarray(frame, np.int32) for frame in of_iso]))
    if not stacks:
        raise DataError("dark frames: expected at least one frame; got none")
    options = {**spec.options, "dark_frames": {iso: list(stack.shape) for iso, stack in stacks.items()}}
    model = build(replace(spec, options=options))
    assert isinstance(model, DarkFrame)
    for name, stack in stacks.items():
        model.frames_at(float(name)).copy_(stack)
    model.eval()
    return model


def size_of(cond: Resolved, source: Source) -> tuple[int, int]:
    """Size (H, W), in pixels of a plane, of the whole frame to which a clean signal belongs."""
    if isinstance(source, Keyed) and source.size is not None:
        return source.size
    return cond.clean.shape[2], cond.clean.shape[3]


@register("dark_frame", ("dark_frames", *PROFILE_OPTION))
class DarkFrame(_Counting):
    """Poisson shot noise plus random crops of real dark frames, with their rows, banding, hot pixels and tails.

    Crops are taken from packed planes, so that they stay aligned with the colour filter array.  A crop has the size
    of the clean signal, so the dark frames must be at least as large.  The frames are stored with the weights.
    The model only samples: it has no density, and `log_prob` raises a `ModelError`.

    Options of the spec: ``profile``, the tables of `spec_from_profile`, and ``dark_frames``, ISO → shape of its frames.

    References
    ----------
    Zhang, Qin, Tao, Zhang et al.: Rethinking noise synthesis and modeling in raw denoising, ICCV 2021.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        shapes = spec.options.get("dark_frames")
        if not isinstance(shapes, Mapping) or not shapes:
            raise ModelError(f"{spec.model}: the spec has no dark frames; build it with dark_frame_model")
        for iso, shape in shapes.items():
            self.register_buffer(self._name(float(iso)), torch.zeros(*shape, dtype=torch.int32))

    @staticmethod
    def _name(iso: float) -> str:
        return f"dark_{iso:g}".replace(".", "_")

    def frames_at(self, iso: float) -> Tensor:
        """Dark frames at an ISO, (n, C, H, W), DN.

        Raises
        ------
        ModelError
            There are no dark frames at that ISO.
        """
        for known in self.spec.options["dark_frames"]:
            if abs(float(known) / iso - 1) < 0.01:
                return self.get_buffer(self._name(float(known)))
        isos = ", ".join(self.spec.options["dark_frames"])
        raise ModelError(
            f"{self.spec.model}: no dark frames at ISO {iso:g}, and they cannot be interpolated; expected ISO {isos}"
        )

    def large_enough(self, iso: float, size: tuple[int, int]) -> Tensor:
        """`frames_at` an ISO, checked to be at least as large as a clean signal of `size`, (h, w) pixels of a plane.

        Raises
        ------
        ModelError
            The frames are smaller.
        """
        frames = self.frames_at(iso)
        rows, columns = frames.shape[-2:]
        if rows < size[0] or columns < size[1]:
            raise ModelError(
                f"{self.spec.model}: the dark frames at ISO {iso:g} have {columns}×{rows} pixels per plane, but the "
                f"clean signal has {size[1]}×{size[0]}; use whole dark frames"
            )
        return frames

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        raise ModelError(f"{self.spec.model}: has no density, samples only; use poisson_gaussian_exact for likelihoods")

    def _dark(self, cond: Resolved, generator: Source) -> Tensor:
        if isinstance(generator, Spread):
            return self._any_pixels(cond, generator)
        tile = cond.clean.shape[-2:]
        crops = []
        height, width = size_of(cond, generator)
        top, left = (generator.top, generator.left) if isinstance(generator, Keyed) else (0, 0)
        for row, iso in enumerate(cond.iso.tolist()):
            frames = self.large_enough(iso, (height, width))
            n, _, rows, columns = frames.shape
            number, down, across = sampling.integers((n, rows - height + 1, columns - width + 1), row, generator)
            down, across = down + top, across + left
            crops.append(frames[number, :, down : down + tile[0], across : across + tile[1]])
        return torch.stack(crops).to(cond.clean) - self.parameter_at(cond, "black")

    def _any_pixels(self, cond: Resolved, source: Spread) -> Tensor:
        """Evenly spread pixels of all dark frames, for measuring moments."""
        strata, count = source.strata(cond.clean, Stream.DARK)
        found = []
        for iso in cond.iso.tolist():
            pixels = self.frames_at(iso).transpose(0, 1).flatten(1).sort(1).values
            found.append(pixels.gather(1, strata.flatten(1) * pixels.shape[1] // count).reshape(strata.shape))
        return torch.stack(found).to(cond.clean) - self.parameter_at(cond, "black")

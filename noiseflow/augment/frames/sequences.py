"""Camera noise on batches of sequences, (B, T, C, H, W), with one camera, ISO and exposure per element."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.augment.augmentation import Outputs, Request
from noiseflow.augment.frames.mosaic import to_mosaic
from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import NoiseModel, draw, in_own_precision
from noiseflow.models.temporal.stream import at_frame
from noiseflow.models.temporal.temporal_noise import TemporalNoise
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Source

if TYPE_CHECKING:
    from noiseflow.augment.camera_noise import AddCameraNoise

__all__ = ["add_to_sequences"]


def add_to_sequences(add: "AddCameraNoise", clean: Tensor, request: Request) -> Outputs:
    """Add noise to sequences; a `TemporalNoise` keeps its memory, any other model draws each frame independently.

    Parameters
    ----------
    add : AddCameraNoise
        The augmentation.
    clean : Tensor, shape (B, T, C, H, W)
        Input of `AddCameraNoise` with an additional time axis.
    request : Request
        Arguments of the call.

    Raises
    ------
    DataError
        A clean signal that requires a gradient.
    """
    if torch.is_grad_enabled() and clean.requires_grad:
        raise DataError(
            "clean: noise of sequences has no gradient with respect to the clean signal: pass clean.detach()"
        )
    dtype = clean.dtype if clean.is_floating_point() else torch.float32
    batch, frames = clean.shape[:2]

    def in_time(each: Tensor) -> Tensor:
        return each.reshape(batch, frames, *each.shape[1:])

    with torch.no_grad():
        planes = in_time(add._planes_of(clean.flatten(0, 1)))
        choice, iso, exposure = add._drawn(planes[:, 0], request)
        scaled = planes * exposure[:, None, None, None, None]
        noise, level = torch.zeros_like(scaled), torch.zeros_like(scaled)
        models, cameras = add._model_of[choice], add._camera_of[choice]
        for number in sorted(set(models.tolist())):
            rows = (models == number).nonzero()[:, 0]
            here = rows.to(scaled.device)
            source = sampling.of_elements(request.source, rows.tolist())
            signal = scaled[here].clamp(min=0)
            index = cameras[rows].to(scaled.device)
            noise[here] = _drawn(add.models[number], signal, iso[here], index, source).to(scaled.dtype)
            level[here] = _levels(add, number, signal, iso[here], index).to(scaled.dtype)
        pictures = [each.flatten(0, 1) for each in (add._stored(scaled + noise), scaled, level)]
        if add.cfa is not None:
            pictures = [to_mosaic(each, add.cfa) for each in pictures]
        noisy, scaled, level = (in_time(each.to(dtype)) for each in pictures)
    return noisy, scaled, level, iso, exposure, choice.to(clean.device)


def _drawn(model: NoiseModel, signal: Tensor, iso: Tensor, camera: Tensor, source: Source) -> Tensor:
    if isinstance(model, TemporalNoise):
        return model.sample_sequence(signal, iso, camera, source)
    frames = []
    for number, frame in enumerate(signal.unbind(1)):
        cond = in_own_precision(model, Resolved(frame, iso, camera))
        frames.append(draw(model, cond, at_frame(source, number)))
    return torch.stack(frames, 1)


def _levels(add: "AddCameraNoise", number: int, signal: Tensor, iso: Tensor, camera: Tensor) -> Tensor:
    """Noise σ of each frame at each pixel, normalised, (B, T, C, H, W)."""
    frames = signal.shape[1]
    isos, cameras = (each.repeat_interleave(frames) for each in (iso, camera))
    cond = in_own_precision(add.models[number], Resolved(signal.flatten(0, 1), isos, cameras))
    level: Tensor = add._samplers[number].level.variance(cond).sqrt()
    return level.reshape(signal.shape)

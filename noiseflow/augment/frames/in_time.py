"""Frames of a sequence with the memory of a `TemporalNoise`, each as a model of its own."""

from collections.abc import Callable

import torch

from noiseflow.models.model import NoiseModel
from noiseflow.models.temporal.temporal_noise import TemporalNoise
from noiseflow.ops.random.sampling import Keyed
from noiseflow.raw.image import RawImage

__all__ = ["frames_of"]


def frames_of(
    model: TemporalNoise, clean: RawImage, *, iso: float, camera: str, seed: int = 0
) -> Callable[[int], NoiseModel]:
    """Function of a frame number that returns the model of that frame; all frames have the same sensor.

    Frame numbers should rise from call to call, which continues the sequence; a lower number restarts it.

    Parameters
    ----------
    model : TemporalNoise
        Model of the noise.
    clean : RawImage
        Clean frame; only its size matters.
    iso, camera : float, str
        ISO and camera of the sequence.
    seed : int
        Seed of all random numbers.
    """
    step = 1 if model.spec.layout == "mono" else clean.side
    dtype = next((each.dtype for each in model.frame.parameters()), torch.float32)
    like = torch.zeros(1, model.planes, clean.mosaic.shape[0] // step, clean.mosaic.shape[1] // step, dtype=dtype)
    stream, now = model.stream(iso=iso, camera=camera, source=Keyed(seed)), None

    def frame(number: int) -> NoiseModel:
        nonlocal stream, now
        if stream.number > number:
            stream = model.stream(iso=iso, camera=camera, source=Keyed(seed))
        while now is None or stream.number < number:
            now = stream.next_frame(like)
        return now

    return frame

"""`AddCameraNoise`: add a camera's noise to batches of clean raw data in a training loop."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from noiseflow.augment.augmentation import Augmentation, Outputs, Request
from noiseflow.augment.distributions import AutoExposure, Choice, Distribution, LogUniform, distribution
from noiseflow.augment.frames.mosaic import to_mosaic, to_planes
from noiseflow.augment.noise_level import NoiseLevelMap
from noiseflow.augment.noisy_batch import NoisyBatch
from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import NoiseModel, draw, in_own_precision, samples_codes
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Source, Stream
from noiseflow.ops.readable import check_normalised
from noiseflow.raw.bayer import offsets

__all__ = ["AddCameraNoise", "NoisyBatch"]

SLACK = 0.05
"""How far a clean signal may lie outside [0, 1]; estimates can lie slightly outside."""


class AddCameraNoise(Augmentation):
    """Draw camera, ISO and exposure for each element of a batch, and add that camera's noise.

    noisy = e·clean + n,  n ~ model(· | e·clean, ISO, camera).

    Random numbers come from one of three sources, depending on the arguments of `forward`.  With `index` they are
    keyed by seed, epoch, index and position, and do not depend on the number of workers or ranks or on the batch.
    With `generator` they come from it.  With neither they are torch's global ones, which a DataLoader seeds in each
    worker.

    The input is the linear, normalised signal (DN − black) / (white − black), 0 to 1, or whole codes in DN if
    `levels` are given.  Models run in their own precision.  Results have the dtype of the input, float16 to float64,
    or float32 for codes.

    In sequences, (B, T, C, H, W), each element has one camera, ISO and exposure.  A `TemporalNoise` keeps its memory
    from frame to frame; other models draw each frame independently.

    The module has no parameters and no state.  Its models move with it to another device, keep their precision, and
    do not appear in `parameters` and `state_dict`.

    Parameters
    ----------
    models : NoiseModel or sequence of NoiseModel
        Models from `noiseflow.load` or `noiseflow.models.from_profile`; they are set to evaluation mode.
    iso : float, list of float, (float, float), distribution or AutoExposure
        A fixed ISO, a list to choose from, the ends of a log-uniform range, or a distribution.  If None,
        log-uniform over the ISO range of the models.  `AutoExposure` draws ISO and exposure together.
    exposure : float, list of float, (float, float) or distribution
        Factor on the clean signal before noise is added.
    cameras : sequence of str, optional
        Cameras to draw from; if None, all cameras of the models.
    cfa : str, optional
        CFA phase.  If given, input and results are mosaics (B, 1, H, W) instead of planes (B, 4, H/2, W/2).
    levels : (float, float), optional
        Black and white level in DN, for codes as input, `quantise`, and the lower end of `clip`.
    clip : bool
        Whether to clip `noisy` to the range a sensor stores, from code 0 to the white level.
    quantise : bool
        Whether to round `noisy` to whole codes.
    seed : int
        Seed of indexed draws, 0 … 2³² − 1.

    Raises
    ------
    ModelError
        A camera that no model knows, or models with different layouts.
    DataError
        Arguments that contradict each other.

    Examples
    --------
    >>> import noiseflow
    >>> add_noise = AddCameraNoise(noiseflow.build(noiseflow.ModelSpec("nlf")), iso=100.0)
    >>> batch = add_noise(torch.full((2, 4, 8, 8), 0.2), index=[5, 9])
    >>> batch.noisy.shape, batch.iso
    (torch.Size([2, 4, 8, 8]), tensor([100., 100.]))
    """

    axes = (4, 5)

    def __init__(
        self,
        models: NoiseModel | Sequence[NoiseModel],
        *,
        iso: float | Sequence[float] | Distribution | AutoExposure | None = None,
        exposure: float | Sequence[float] | Distribution = 1.0,
        cameras: Sequence[str] | None = None,
        cfa: str | None = None,
        levels: tuple[float, float] | None = None,
        clip: bool = False,
        quantise: bool = False,
        seed: int = 0,
    ) -> None:
        given = [models] if isinstance(models, NoiseModel) else list(models)
        if not given:
            raise ModelError("models: expected at least one noise model; got none")
        layouts = {model.spec.layout for model in given}
        if len(layouts) != 1:
            raise ModelError(f"models: expected one plane layout for all; got {', '.join(sorted(layouts))}")
        if cfa is not None and layouts != {"bayer"}:
            raise ModelError(f"cfa {cfa}: the models were fitted on {layouts.pop()!r} planes, not on a Bayer sensor's")
        if cfa is not None:
            offsets(cfa)
        if levels is not None and not 0 <= levels[0] < levels[1]:
            raise DataError(f"levels: expected 0 ≤ black < white in DN; got {levels}")
        if quantise and levels is None:
            raise DataError("quantise: give the levels of black and white in DN, such as levels=(512, 16383)")
        choices = _choices(given, cameras)
        super().__init__(seed, [name for _, name in choices])
        self.layout, self.planes = layouts.pop(), given[0].planes
        self.shape = f"(B, {self.planes if cfa is None else 1}, H, W)"
        # A tuple, not a ModuleList, because the models are not part of the network that is trained.
        self.models = tuple(model.eval() for model in given)
        self._model_of = torch.tensor([number for number, _ in choices])
        self._camera_of = torch.tensor([given[number].cameras.index(name) for number, name in choices])
        low, high = min(m.iso_range[0] for m in given), max(m.iso_range[1] for m in given)
        self.iso = (
            iso if isinstance(iso, AutoExposure) else distribution(LogUniform(low, high) if iso is None else iso, "iso")
        )
        self.exposure = distribution(exposure, "exposure")
        self.cfa, self.levels, self.clip, self.quantise = cfa, levels, clip, quantise
        self._samplers = tuple(_Sampler(model) for model in given)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "AddCameraNoise":
        """Move the models, which are not submodules, to the device of the rest; their precision is kept."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for model in self.models:
            like = next(chain(model.parameters(), model.buffers()), None)
            if like is not None and (device := fn(torch.empty(0, device=like.device)).device).type != "meta":
                model.to(device)
        return self

    @property
    def keeps_clean(self) -> bool:
        """Whether the clean result always equals the input: the exposure is fixed at 1."""
        return self.exposure == Choice((1.0,)) and not isinstance(self.iso, AutoExposure)

    def augment(self, batch: Tensor, request: Request) -> Outputs:
        """Add noise to planes (B, C, H, W), or to mosaics (B, 1, H, W)."""
        dtype = batch.dtype if batch.is_floating_point() else torch.float32
        clean = self._planes_of(batch)
        grad = torch.is_grad_enabled() and clean.requires_grad
        if grad and self.quantise:
            raise DataError(
                "quantise: whole codes have no gradient with respect to the clean signal: pass clean.detach()"
            )
        with torch.set_grad_enabled(grad):
            *pictures, iso, exposure, index = self._add(clean, request)
            noisy, scaled, level = (
                (values if self.cfa is None else to_mosaic(values, self.cfa)).to(dtype) for values in pictures
            )
        return noisy, scaled, level, iso, exposure, index

    def augment_sequences(self, batch: Tensor, request: Request) -> Outputs:
        """Add noise to sequences (B, T, C, H, W); each element has one camera, ISO and exposure for all frames."""
        from noiseflow.augment.frames.sequences import add_to_sequences

        return add_to_sequences(self, batch, request)

    def _planes_of(self, clean: Tensor) -> Tensor:
        expected = self.planes if self.cfa is None else 1
        if not clean.is_floating_point() and self.levels is None:
            raise DataError(
                f"clean: expected floating point, (DN − black) / (white − black); got {clean.dtype}: normalise it "
                "first, or give levels=(black, white) in DN"
            )
        if clean.shape[1] != expected:
            hint = ""
            if clean.shape[3] == expected:
                hint = ": planes must be the second axis, use permute(0, 3, 1, 2)"
            elif clean.shape[1] == 3:
                hint = ": for RGB pictures use noiseflow.augment.AddNoiseToPictures"
            elif clean.shape[1] == 1:
                hint = ": for a mosaic give its CFA phase, such as cfa='RGGB'"
            raise DataError(f"clean: expected shape {self.shape}; got {tuple(clean.shape)}{hint}")
        if not clean.is_floating_point():
            assert self.levels is not None
            black, white = self.levels
            clean = (clean.to(torch.float32) - black) / (white - black)
        clean = clean.to(torch.promote_types(clean.dtype, torch.float32))
        check_normalised(clean, -SLACK, 1 + SLACK, "0 to 1")
        return clean if self.cfa is None else to_planes(clean, self.cfa)

    def _add(self, clean: Tensor, request: Request) -> Outputs:
        choice, iso, exposure = self._drawn(clean, request)
        scaled = clean * exposure[:, None, None, None]
        models, cameras = self._model_of[choice], self._camera_of[choice]
        used = sorted(set(models.tolist())) or [0]
        if len(used) == 1:
            noise, level = _sampled(self._samplers[used[0]], scaled, iso, cameras, request.source)
        else:
            noise, level = torch.zeros_like(scaled), torch.zeros_like(scaled)
            for number in used:
                rows = (models == number).nonzero()[:, 0]
                source = sampling.of_elements(request.source, rows.tolist())
                here = rows.to(scaled.device)
                drawn, found = _sampled(self._samplers[number], scaled[here], iso[here], cameras[rows], source)
                noise, level = noise.index_copy(0, here, drawn), level.index_copy(0, here, found)
        return self._stored(scaled + noise), scaled, level, iso, exposure, choice.to(clean.device)

    def _drawn(self, clean: Tensor, request: Request) -> tuple[Tensor, Tensor, Tensor]:
        """Index of the camera (on the CPU), ISO and exposure of each element, drawn or given."""
        u = sampling.uniform(clean.new_empty(len(clean), 1, 1, 3), request.source, Stream.PARAMETERS)[:, 0, 0]
        choice = (u[:, 0].cpu() * len(self._model_of)).long().clamp(max=len(self._model_of) - 1)
        choice = choice if request.camera is None else request.camera.cpu().long()
        exposure = self.exposure(u[:, 2])
        if isinstance(self.iso, AutoExposure):
            iso, factor = self.iso.settings(u[:, 1])
            exposure = exposure * factor
        else:
            iso = self.iso(u[:, 1])
        iso = iso if request.iso is None else request.iso
        exposure = exposure if request.exposure is None else request.exposure
        if not bool(((iso > 0) & torch.isfinite(iso)).all()):
            raise DataError(f"iso: expected positive numbers; got {iso.tolist()[:4]}")
        return choice, iso.to(clean), exposure.to(clean)

    def _stored(self, noisy: Tensor) -> Tensor:
        """Round to codes and clip like an analogue-to-digital converter, if requested."""
        black, white = self.levels or (0.0, 1.0)
        if self.quantise:
            noisy = ((noisy * (white - black) + black).round() - black) / (white - black)
        return noisy.clamp(-black / (white - black), 1.0) if self.clip else noisy


class _Sampler(nn.Module):
    """Samples the noise of one model and computes its level, in the model's own precision."""

    def __init__(self, model: NoiseModel) -> None:
        super().__init__()
        self.model, self.level = model, NoiseLevelMap(model)

    def forward(self, scaled: Tensor, iso: Tensor, cameras: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        # A signal below black has the noise of black.  Models that sample codes handle that themselves.
        signal = scaled if samples_codes(self.model) else scaled.clamp(min=0)
        cond = in_own_precision(self.model, Resolved(signal, iso, cameras.to(scaled.device)))
        noise = draw(self.model, cond, source)
        return noise.to(scaled.dtype), self.level.variance(cond).sqrt().to(scaled.dtype)


def _sampled(sampler: _Sampler, *given: Any) -> tuple[Tensor, Tensor]:
    """Noise and its level; gradients flow to the signal only, not to the model's weights."""
    if torch.is_grad_enabled():
        fixed = {name: value.detach() for name, value in sampler.named_parameters()}
        noise, level = functional_call(sampler, fixed, given)
    else:
        noise, level = sampler(*given)
    return noise, level


def _choices(models: Sequence[NoiseModel], cameras: Sequence[str] | None) -> list[tuple[int, str]]:
    """For each camera to draw from: index of its model, and name."""
    known = [(number, name) for number, model in enumerate(models) for name in model.cameras]
    if cameras is None:
        return known
    names = [name for _, name in known]
    for camera in cameras:
        if camera not in names:
            raise ModelError(f"camera {camera!r} is not one these models were fitted for; expected {', '.join(names)}")
    if not cameras:
        raise ModelError(f"cameras: expected at least one of {', '.join(names)}; got none")
    return [known[names.index(camera)] for camera in cameras]

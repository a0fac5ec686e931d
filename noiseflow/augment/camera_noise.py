"""`AddCameraNoise`: add a camera's noise to batches of clean raw data in a training loop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from noiseflow.augment.distributions import AutoExposure, Distribution, LogUniform, distribution
from noiseflow.augment.frames.mosaic import to_mosaic, to_planes
from noiseflow.augment.noise_level import NoiseLevelMap
from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.capabilities import samples_codes
from noiseflow.models.model import NoiseModel
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Keyed, Source, Stream
from noiseflow.raw.bayer import offsets

__all__ = ["AddCameraNoise", "NoisyBatch"]

SLACK = 0.05
"""Largest distance of a clean signal from [0, 1]; an estimate may lie slightly outside."""


@dataclass(frozen=True, eq=False)
class NoisyBatch:
    """Result of an augmentation: normalised tensors of the shape and dtype of its input.

    Parameters
    ----------
    noisy : Tensor
        Clean signal plus noise, clipped and quantised if requested.
    clean : Tensor
        The input times `exposure`: the training target for `noisy`.
    noise_level : Tensor
        σ of the noise at each pixel, for networks with a noise-level input.
    iso, exposure : Tensor, shape (B,)
        ISO and exposure factor drawn for each element, in float32 (float64 for float64 input).
    camera : tuple of str
        Camera drawn for each element.
    """

    noisy: Tensor
    clean: Tensor
    noise_level: Tensor
    iso: Tensor
    exposure: Tensor
    camera: tuple[str, ...]


class AddCameraNoise(nn.Module):
    """Draw camera, ISO and exposure for each element of a batch, and add that camera's noise.

    noisy = e·clean + n,  n ~ model(· | e·clean, ISO, camera).

    The random numbers depend on the arguments of `forward`.  With `index` they are keyed by seed, epoch, index
    and position, and do not depend on the number of workers, the number of ranks or the batch.  With
    `generator` they come from it.  With neither they are torch's own, which a DataLoader seeds in each worker.

    Models run in their own precision; results have the dtype of the input, float16 to float64.

    Parameters
    ----------
    models : NoiseModel or sequence of NoiseModel
        Models from `noiseflow.load` or `noiseflow.models.from_profile`; they stay in evaluation mode.
    iso : float, list of float, distribution or AutoExposure
        A fixed ISO, a list to choose from, or a distribution.  If None, log-uniform over the ISO range of the
        models.  `AutoExposure` draws ISO and exposure together.
    exposure : float, list of float or distribution
        Factor on the clean signal before the noise.
    cameras : sequence of str, optional
        Cameras to draw from; all cameras of the models if None.
    cfa : str, optional
        CFA phase.  If given, take and return mosaics (B, 1, H, W) instead of planes (B, 4, H/2, W/2).
    levels : (float, float), optional
        Black and white level in DN, for `quantise` and the lower end of `clip`.
    clip : bool
        Clip `noisy` to the range that a sensor stores, from code 0 to the white level.
    quantise : bool
        Round `noisy` to whole codes.
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
        super().__init__()
        given = [models] if isinstance(models, NoiseModel) else list(models)
        if not given:
            raise ModelError("models: expected at least one noise model; got none")
        layouts = {model.spec.layout for model in given}
        if len(layouts) != 1:
            raise ModelError(f"models: expected one layout of planes; got {', '.join(sorted(layouts))}")
        self.layout, self.planes = next(iter(layouts)), given[0].planes
        if cfa is not None and self.layout != "bayer":
            raise ModelError(f"cfa {cfa}: the models were fitted on {self.layout!r} planes, not on a Bayer sensor's")
        if cfa is not None:
            offsets(cfa)
        if levels is not None and not 0 <= levels[0] < levels[1]:
            raise DataError(f"levels: expected 0 ≤ black < white in DN; got {levels}")
        if quantise and levels is None:
            raise DataError("quantise: give the levels of black and white in DN, such as levels=(512, 16383)")
        if not 0 <= seed < 2**32:
            raise DataError(f"seed: expected 0 … 2³² − 1; got {seed}")
        self.models = nn.ModuleList(given).eval()
        self.choices = _choices(given, cameras)
        low, high = min(m.iso_range[0] for m in given), max(m.iso_range[1] for m in given)
        self.iso = (
            iso if isinstance(iso, AutoExposure) else distribution(LogUniform(low, high) if iso is None else iso, "iso")
        )
        self.exposure = distribution(exposure, "exposure")
        self.cfa, self.levels, self.clip, self.quantise, self.seed = cfa, levels, clip, quantise, seed
        self._noise_levels = [NoiseLevelMap(model) for model in given]

    def train(self, mode: bool = True) -> "AddCameraNoise":
        """Set the mode of this module; its models stay in evaluation mode."""
        super().train(mode)
        self.models.eval()
        return self

    def forward(
        self,
        clean: Tensor,
        index: Sequence[int] | Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        epoch: int = 0,
    ) -> NoisyBatch:
        """Add noise to a batch, or to one element without a batch axis.

        Parameters
        ----------
        clean : Tensor, shape (B, C, H, W) or (C, H, W)
            Linear, normalised signal of any floating dtype: (DN − black) / (white − black), 0 to 1.
        index : B whole numbers, optional
            Number of each sample in its data set, 0 … 2³² − 1; its noise then depends only on the seed, the
            epoch and the sample itself.
        generator : torch.Generator, optional
            Generator on the device of `clean`.
        epoch : int
            Number of the epoch, 0 … 2³² − 1; each epoch draws other noise for the same index.

        Raises
        ------
        DataError
            Integers, planes not in the second axis, values outside 0…1, NaN; both index and generator.
        """
        single = clean.ndim == 3
        batch = clean[None] if single else clean
        result = self._add(self._planes_of(batch), self.source(index, len(batch), generator, epoch))

        def as_given(values: Tensor) -> Tensor:
            values = values if self.cfa is None else to_mosaic(values, self.cfa)
            return (values[0] if single else values).to(clean.dtype)

        return replace(
            result,
            noisy=as_given(result.noisy),
            clean=as_given(result.clean),
            noise_level=as_given(result.noise_level),
        )

    def source(
        self, index: Sequence[int] | Tensor | None, count: int, generator: torch.Generator | None, epoch: int
    ) -> Source:
        """Random source for a batch of `count` elements; the other arguments are those of `forward`."""
        if index is not None and generator is not None:
            raise DataError("index and generator: expected one of them; got both")
        if index is None:
            return generator
        numbers = torch.as_tensor(index).reshape(-1).tolist()
        if len(numbers) != count:
            raise DataError(f"index: expected {count}, one for each element of the batch; got {len(numbers)}")
        return Keyed(epoch << 32 | self.seed, tuple(int(number) for number in numbers))

    def _planes_of(self, clean: Tensor) -> Tensor:
        expected = self.planes if self.cfa is None else 1
        shape = f"(B, {expected}, H, W)"
        if clean.ndim != 4:
            raise DataError(f"clean: expected shape {shape}; got {tuple(clean.shape)}")
        if not clean.is_floating_point():
            raise DataError(
                f"clean: expected floating point, (DN − black) / (white − black); got {clean.dtype}: normalise it first"
            )
        if clean.shape[1] != expected:
            hint = ""
            if clean.shape[3] == expected:
                hint = ": planes come second, permute(0, 3, 1, 2) puts them there"
            elif clean.shape[1] == 3:
                hint = ": for RGB pictures there is noiseflow.augment.AddNoiseToPictures"
            elif clean.shape[1] == 1:
                hint = ": for a mosaic give its phase, such as cfa='RGGB'"
            raise DataError(f"clean: expected shape {shape}; got {tuple(clean.shape)}{hint}")
        clean = clean.to(torch.float64 if clean.dtype == torch.float64 else torch.float32)
        if clean.numel():
            low, high = (float(value) for value in torch.aminmax(clean.detach()))
            # NaN passes this test; `checked_conditions` reports it.
            if low < -SLACK or high > 1 + SLACK:
                raise DataError(
                    f"clean: expected the normalised signal, 0 to 1; got {low:.4g} to {high:.4g}: "
                    "take off the black level and divide by white − black"
                )
        return clean if self.cfa is None else to_planes(clean, self.cfa)

    @torch.no_grad()
    def _add(self, clean: Tensor, source: Source) -> NoisyBatch:
        u = sampling.uniform(clean.new_empty(len(clean), 1, 1, 3), source, Stream.PARAMETERS)[:, 0, 0]
        picked = [self.choices[min(int(x * len(self.choices)), len(self.choices) - 1)] for x in u[:, 0].tolist()]
        exposure = self.exposure(u[:, 2])
        if isinstance(self.iso, AutoExposure):
            iso, factor = self.iso.settings(u[:, 1])
            exposure = exposure * factor
        else:
            iso = self.iso(u[:, 1])
        iso, exposure = iso.to(clean), exposure.to(clean)
        scaled = clean * exposure[:, None, None, None]
        noise, level = torch.empty_like(scaled), torch.empty_like(scaled)
        for number, model in enumerate(self.models):
            rows = [row for row, (which, _) in enumerate(picked) if which == number]
            if rows:
                assert isinstance(model, NoiseModel)
                # In the model's own precision: its nets take no other.
                like = next(model.parameters(), scaled)
                # The noise of a signal below black is that of black; whole codes do not depend on it.
                signal = scaled[rows].to(like.dtype)
                signal = signal if samples_codes(model) else signal.clamp(min=0)
                cond = Conditions(signal, iso[rows], [picked[row][1] for row in rows])
                noise[rows] = model.sample(cond, sampling.of_elements(source, rows)).to(noise.dtype)
                level[rows] = self._noise_levels[number](cond).to(level.dtype)
        return NoisyBatch(self._stored(scaled + noise), scaled, level, iso, exposure, tuple(name for _, name in picked))

    def _stored(self, noisy: Tensor) -> Tensor:
        """Round to codes and clip as a converter does, if requested."""
        black, white = self.levels or (0.0, 1.0)
        if self.quantise:
            noisy = ((noisy * (white - black) + black).round() - black) / (white - black)
        return noisy.clamp(-black / (white - black), 1.0) if self.clip else noisy


def _choices(models: Sequence[NoiseModel], cameras: Sequence[str] | None) -> list[tuple[int, str]]:
    """Index of the model, and name, of each camera to draw from."""
    known = [(number, name) for number, model in enumerate(models) for name in model.cameras]
    if cameras is None:
        return known
    names = [name for _, name in known]
    for camera in cameras:
        if camera not in names:
            raise ModelError(f"camera {camera!r} is not one these models were fitted for; they know {', '.join(names)}")
    if not cameras:
        raise ModelError(f"cameras: expected at least one of {', '.join(names)}; got none")
    return [known[names.index(camera)] for camera in cameras]

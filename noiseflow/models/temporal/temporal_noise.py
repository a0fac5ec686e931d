"""`TemporalNoise`: a frame's model with a memory, its density over a sequence and its samples as a stream."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import ModelSpec, NoiseModel, build, register
from noiseflow.models.temporal.frame_latent import as_frame_model, sigma_of
from noiseflow.models.temporal.part import FramePart, InnovationPart, PixelPart
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.sequence_density import SequenceDensity
from noiseflow.models.temporal.stream import NoiseStream
from noiseflow.models.temporal.telegraph import Telegraph
from noiseflow.ops.random.sampling import Keyed, Source

__all__ = ["PATTERN", "TemporalNoise", "as_temporal", "temporal_spec"]

PATTERN = "within", "added"
"""Whether the frame's model has the fixed pattern in its variance."""


@register("temporal", ("frame", "parts", "pattern"))
class TemporalNoise(NoiseModel):
    """Noise of a sequence of frames, given the past: log p(n_1 … n_T) = Σ_t log p(n_t | n_1 … n_{t−1}).

    The frame's own model maps each frame's noise to a standard normal latent, z_t = f(n_t; clean, ISO, camera).
    What has memory is the latent of each pixel p,

        z_t(p) = Σ_i h_i(p)·u_i(p) + Σ_j g_j(p)·x_j,t + N(0, 1 − Σ_i h_i(p)²),

    u of the pixel and for ever (`PixelPart`), x of the frame and autoregressive (`FramePart`); h and g are the part's
    σ over σ of the frame's noise at that signal.  For a normal frame model n = σ·z this is the physical sum
    n_t = offset + PRNU·signal + drift_t + flicker_t·signal + rest; for any other flow it is defined by its latent.
    Hence

        log p(n_t | past) = log p_frame(n_t) + log q(z_t | z_1 … z_{t−1}) − log N(z_t; 0, I),

    exact for every flow, with q by a Kalman filter over all pixels at once (`linear_filter`).  The fixed pattern takes
    its share of the variance that the frame's model has: a burst of one frame has that model's density.  Telegraph
    pixels (`Telegraph`) take a share too, but a frame of them is a mixture.  Drift and flicker are added, since
    independent pixels cannot have them.  Around a model that was fitted to noise without the pattern, as to bursts
    whose mean is the clean signal, all is added, and the last term is N(0, 1).

    With telegraph pixels, x is first taken out of a frame as if its pixels were independent, S^(−½)(z − E z), and the
    rest is each pixel's own.  That is a normalised density of its own; it differs from the law of the samples only in
    the one direction of a frame that each x moves it in.

    What is left, the innovation w_t = (z_t − E z_t)/σ given the past, is N(0, 1), or has a law given the innovations
    before it (`InnovationPart`).  The sampler gives that law to what is new in a frame, before the other parts are
    added: alone it has the density exactly, beside parts that are still being learnt from the frames up to their error.

    Options of the spec: ``frame``, a mapping with ``model`` and ``options`` of the frame's model; ``parts``, names in
    `noiseflow.models.temporal.registry.PARTS`; ``pattern``, ``"within"`` the frame's variance or ``"added"``.

    Examples
    --------
    >>> spec = temporal_spec(ModelSpec("nlf"), ["dark_pattern"])
    >>> model = build(spec)
    >>> stream = model.stream(seed=1)
    >>> stream(torch.full((1, 4, 8, 8), 0.2)).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        given, names = spec.options.get("frame"), spec.options.get("parts", ())
        if not isinstance(given, dict) or not isinstance(given.get("model"), str):
            raise ModelError("temporal: is fitted around a frame's model, by `noiseflow fit-video`")
        if given["model"] == "temporal":
            raise ModelError("temporal: its frame's model is itself one of sequences; give that one's frame model")
        for name in names:
            if name not in PARTS:
                raise ModelError(f"temporal: part {name!r} is not known; expected some of {', '.join(PARTS)}")
        if len(set(names)) != len(tuple(names)):
            raise ModelError(f"temporal: expected each part once; got {', '.join(names)}")
        kind = spec.options.get("pattern", PATTERN[0])
        if kind not in PATTERN:
            raise ModelError(f"temporal: option pattern: expected {' or '.join(PATTERN)}; got {kind!r}")
        self.adds_pattern = kind == "added"
        options = given.get("options") or {}
        self.frame = as_frame_model(build(replace(spec, model=given["model"], options=options)))
        self.parts = nn.ModuleDict({name: PARTS[name](spec) for name in PARTS if name in names})

    @property
    def pixel_parts(self) -> tuple[PixelPart, ...]:
        """Parts that each pixel has a value of."""
        return tuple(part for part in self.parts.values() if isinstance(part, PixelPart))

    @property
    def frame_parts(self) -> tuple[FramePart, ...]:
        """Parts that all pixels of a frame share."""
        return tuple(part for part in self.parts.values() if isinstance(part, FramePart))

    @property
    def telegraph(self) -> Telegraph | None:
        """Telegraph pixels, if it has them."""
        return next((part for part in self.parts.values() if isinstance(part, Telegraph)), None)

    @property
    def innovation_part(self) -> InnovationPart | None:
        """The law of what the other parts leave, if it has one."""
        return next((part for part in self.parts.values() if isinstance(part, InnovationPart)), None)

    @property
    def elementwise(self) -> bool:
        """Whether a single frame's latents are standard normal, and each of one noise value."""
        return self.frame.elementwise and not (self.frame_parts or self.telegraph or self.adds_pattern)

    def approximate_sigma(self, cond: Resolved) -> Tensor:
        """σ of the frame's model, (B, C, H, W)."""
        return sigma_of(self.frame, cond).to(cond.clean.dtype)

    def latent(self, noise: Tensor, cond: Resolved) -> Tensor:
        """Latent of the frame's model."""
        return self.frame.latent(noise, cond)

    def follow(self, iso: Tensor | float, camera: Tensor | int | str | Sequence[str] = 0) -> SequenceDensity:
        """The density of a sequence, frame by frame: each call is log p(n_t | the frames of the calls before), (B,).

        Parameters
        ----------
        iso : float or Tensor, shape (B,)
            ISO of the sequence.
        camera : as in `Conditions`
            Its camera.

        Examples
        --------
        >>> model = build(temporal_spec(ModelSpec("nlf"), ["dark_pattern", "black_drift"]))
        >>> density = model.follow(iso=100.0)
        >>> clean = torch.full((1, 4, 8, 8), 0.2)
        >>> [density(torch.zeros_like(clean), clean).shape for _ in range(2)]
        [torch.Size([1]), torch.Size([1])]
        """
        return SequenceDensity(self, iso, camera)

    def log_prob_of_sequence(
        self,
        noise: Tensor,
        clean: Tensor,
        iso: Tensor | float,
        camera: Tensor | int | str | Sequence[str] = 0,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Log-density of each frame given the frames before; their sum is the log-density of the sequence.

        Parameters
        ----------
        noise : Tensor, shape (B, T, C, H, W)
            Noisy − clean, normalised.
        clean : Tensor, shape (B, T, C, H, W) or (B, 1, C, H, W)
            Clean signal; one of a scene that stands still.
        iso : float or Tensor, shape (B,) or (B, T)
            ISO of the sequence, or of each frame: the same for all.
        camera : as in `Conditions`
            Its camera.
        observed : Tensor of bool, shape (B, T, C, H, W), optional
            False where a pixel is masked.

        Returns
        -------
        Tensor of float64, shape (B, T)
            Nats.

        Raises
        ------
        DataError
            Shapes that do not fit, or frames of more than one ISO.
        """
        if noise.ndim != 5 or clean.ndim != 5 or clean.shape[1] not in (1, noise.shape[1]):
            raise DataError(
                "noise, clean: expected shape (B, T, C, H, W), clean perhaps (B, 1, C, H, W); got "
                f"{tuple(noise.shape)} and {tuple(clean.shape)}"
            )
        density = self.follow(one_iso(iso, noise.shape[1]), camera)
        still = clean.shape[1] == 1
        return torch.stack(
            [
                density(noise[:, t], clean[:, 0 if still else t], None if observed is None else observed[:, t])
                for t in range(noise.shape[1])
            ],
            1,
        )

    def stream(
        self,
        *,
        iso: Tensor | float | None = None,
        camera: Tensor | int | str | Sequence[str] = 0,
        seed: int = 0,
        source: Source = None,
        temperature: float = 1.0,
    ) -> NoiseStream:
        """A sampler of a sequence: each call with a clean frame gives the noisy frame, with what the camera remembers.

        Its memory is that of two maps of the frame, however many frames there are.

        Parameters
        ----------
        iso : float or Tensor, shape (B,), optional
            ISO of the sequence; the lowest of the model if None.
        camera : as in `Conditions`
            Its camera.
        seed : int
            Seed of all its numbers, those of the sensor's pattern too.
        source : torch.Generator or Keyed, optional
            Where its numbers come from in place of `seed`.
        temperature : float
            Factor on the latents; 1 samples the fitted density.
        """
        iso = self.iso_range[0] if iso is None else iso
        return NoiseStream(self, iso, camera, Keyed(seed) if source is None else source, temperature)

    def sample_sequence(
        self,
        clean: Tensor,
        iso: Tensor | float,
        camera: Tensor | int | str | Sequence[str] = 0,
        source: Source = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw the noise of whole sequences: frame by frame what `stream` gives.

        Parameters
        ----------
        clean : Tensor, shape (B, T, C, H, W)
            Clean signal of each frame, normalised.
        iso, camera, source, temperature
            Those of `stream`; keyed, an element has the noise that it has alone.

        Returns
        -------
        Tensor, shape (B, T, C, H, W)
            Normalised noise in the dtype of the clean signal.
        """
        if clean.ndim != 5 or not clean.shape[1]:
            raise DataError(f"clean: expected shape (B, T, C, H, W) with frames; got {tuple(clean.shape)}")
        stream = self.stream(iso=one_iso(iso, clean.shape[1]), camera=camera, source=source, temperature=temperature)
        return torch.stack([stream.noise(frame) for frame in clean.unbind(1)], 1)

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        return self._log_prob_of_observed(noise, cond)

    def _log_prob_of_observed(self, noise: Tensor, cond: Resolved) -> Tensor:
        return self.follow(cond.iso, cond.camera)(noise, cond.clean, cond.observed).to(noise.dtype)

    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor:
        if isinstance(generator, Keyed) and (generator.size or cond.clean.shape[2:]) != cond.clean.shape[2:]:
            raise ModelError(
                "temporal: a window of a frame is a sample of stream(…).next_frame(frame), not of the model"
            )
        stream = NoiseStream(self, cond.iso, cond.camera, generator, temperature)
        return stream.noise(cond.clean)

    def _working_dtype(self, given: torch.dtype) -> torch.dtype:
        return self.frame._working_dtype(given)


def as_temporal(model: NoiseModel, name: str) -> TemporalNoise:
    """The model, if it is one of sequences.

    Raises
    ------
    ModelError
        It is not; `name` is what to call it.
    """
    if not isinstance(model, TemporalNoise):
        raise ModelError(f"{name}: {model.spec.model} is a model of single frames; make one of sequences by fit-video")
    return model


def one_iso(iso: Tensor | float, frames: int) -> Tensor | float:
    """The ISO of a sequence whose frames may each have one.

    Raises
    ------
    DataError
        They differ.
    """
    if not isinstance(iso, Tensor) or iso.ndim < 2:
        return iso
    if iso.shape[1] != frames or bool((iso != iso[:, :1]).any()):
        found = sorted({f"{each:g}" for each in iso.flatten().tolist()})
        raise DataError(f"iso: expected one ISO for all frames of a sequence; got {', '.join(found[:4])}: split it")
    return iso[:, 0]


def temporal_spec(frame: ModelSpec, parts: Sequence[str], pattern: str = PATTERN[0]) -> ModelSpec:
    """Spec of a `TemporalNoise` around a frame's model.

    Parameters
    ----------
    frame : ModelSpec
        Spec of the frame's model.
    parts : sequence of str
        Names in `PARTS`.
    pattern : str
        One of `PATTERN`.
    """
    options: dict[str, object] = {"frame": {"model": frame.model, "options": dict(frame.options)}, "parts": list(parts)}
    if pattern != PATTERN[0]:
        options["pattern"] = pattern
    if frame.before_rounding:
        options["before_rounding"] = True
    return replace(frame, model="temporal", options=options)

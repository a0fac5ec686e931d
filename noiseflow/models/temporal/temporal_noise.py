"""`TemporalNoise`: a frame model with memory, its density over a sequence, and its samples as a stream."""

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
"""Whether the frame model's variance includes the fixed pattern, or the pattern is added to it."""


@register("temporal", ("frame", "parts", "pattern"))
class TemporalNoise(NoiseModel):
    """Noise of a sequence of frames, each given the past: log p(n_1 … n_T) = Σ_t log p(n_t | n_1 … n_{t−1}).

    The frame model maps the noise of each frame to a standard normal latent, z_t = f(n_t; clean, ISO, camera).
    Memory acts on the latent of each pixel p,

        z_t(p) = Σ_i h_i(p)·u_i(p) + Σ_j g_j(p)·x_j,t + N(0, 1 − Σ_i h_i(p)²),

    with u specific to the pixel and constant (`PixelPart`), and x common to the frame and autoregressive
    (`FramePart`).  h and g are the part's σ divided by σ of the frame's noise at that signal.  For a Gaussian frame
    model, n = σ·z, this is the physical sum n_t = offset + PRNU·signal + drift_t + flicker_t·signal + rest; for any
    other flow it is defined through the latent.  Hence

        log p(n_t | past) = log p_frame(n_t) + log q(z_t | z_1 … z_{t−1}) − log N(z_t; 0, I),

    which is exact for every flow; q comes from a Kalman filter over all pixels at once (`linear_filter`).  The fixed
    pattern is part of the frame model's variance: a sequence of one frame has that model's density.  Telegraph pixels
    (`Telegraph`) are part of it too, but a frame with them is a mixture.  Drift and flicker are added, because a
    frame model with independent pixels cannot contain them.  If the frame model was fitted to noise without the
    pattern, such as bursts whose mean is the clean signal, the pattern is added too (``"added"``) and the last term
    of z_t is N(0, 1).

    With telegraph pixels, x is first removed from a frame as if its pixels were independent, S^(−½)(z − E z), and the
    rest is treated pixel by pixel.  This is a normalised density; it differs from the distribution of samples only in
    the one direction in which each x moves a frame.

    The innovation w_t = (z_t − E z_t)/σ given the past is N(0, 1), or depends on earlier innovations
    (`InnovationPart`).  The sampler applies that dependence to the new noise of a frame before it adds the other
    parts.  Without other parts the samples have exactly this density; with them, up to the error of what has been
    learnt about these parts from the frames so far.

    Options of the spec: ``frame``, a mapping with ``model`` and ``options`` of the frame model; ``parts``, names in
    `noiseflow.models.temporal.registry.PARTS`; ``pattern``, ``"within"`` the frame's variance (default) or ``"added"``.

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
            raise ModelError("temporal: needs a frame model; fit it with `noiseflow fit-video`")
        if given["model"] == "temporal":
            raise ModelError("temporal: its frame model is itself a sequence model; give a model of single frames")
        for name in names:
            if name not in PARTS:
                raise ModelError(f"temporal: part {name!r} is not known; expected some of {', '.join(PARTS)}")
        if len(set(names)) != len(tuple(names)):
            raise ModelError(f"temporal: expected each part only once; got {', '.join(names)}")
        kind = spec.options.get("pattern", PATTERN[0])
        if kind not in PATTERN:
            raise ModelError(f"temporal: option pattern: expected {' or '.join(PATTERN)}; got {kind!r}")
        self.adds_pattern = kind == "added"
        options = given.get("options") or {}
        self.frame = as_frame_model(build(replace(spec, model=given["model"], options=options)))
        self.parts = nn.ModuleDict({name: PARTS[name](spec) for name in PARTS if name in names})

    @property
    def pixel_parts(self) -> tuple[PixelPart, ...]:
        """The parts with one constant value per pixel."""
        return tuple(part for part in self.parts.values() if isinstance(part, PixelPart))

    @property
    def frame_parts(self) -> tuple[FramePart, ...]:
        """The parts common to all pixels of a frame."""
        return tuple(part for part in self.parts.values() if isinstance(part, FramePart))

    @property
    def telegraph(self) -> Telegraph | None:
        """The telegraph part; None if there is none."""
        return next((part for part in self.parts.values() if isinstance(part, Telegraph)), None)

    @property
    def innovation_parts(self) -> tuple[InnovationPart, ...]:
        """The laws of innovations, coarse before fine; none if they are independent."""
        return tuple(part for part in self.parts.values() if isinstance(part, InnovationPart))

    @property
    def elementwise(self) -> bool:
        """Whether each latent of a single frame is standard normal and depends on one noise value only."""
        return self.frame.elementwise and not (self.frame_parts or self.telegraph or self.adds_pattern)

    def approximate_sigma(self, cond: Resolved) -> Tensor:
        """Noise σ of the frame model, (B, C, H, W), normalised."""
        return sigma_of(self.frame, cond).to(cond.clean.dtype)

    def latent(self, noise: Tensor, cond: Resolved) -> Tensor:
        """Latent of the frame model, (B, C, H, W)."""
        return self.frame.latent(noise, cond)

    def follow(self, iso: Tensor | float, camera: Tensor | int | str | Sequence[str] = 0) -> SequenceDensity:
        """Start the density of a sequence; each call of the result gives log p(n_t | frames of earlier calls), (B,).

        Parameters
        ----------
        iso : float or Tensor, shape (B,)
            ISO of the sequence.
        camera : as in `Conditions`
            Camera of the sequence.

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
            Clean signal, normalised; a single frame for a static scene.
        iso : float or Tensor, shape (B,) or (B, T)
            ISO of the sequence; if given per frame, it must be the same for all frames.
        camera : as in `Conditions`
            Camera of the sequence.
        observed : Tensor of bool, shape (B, T, C, H, W), optional
            False where a pixel is masked.

        Returns
        -------
        Tensor of float64, shape (B, T)
            Log-density of each frame, nats.

        Raises
        ------
        DataError
            Shapes that do not match, or frames with different ISOs.
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
        """Start a sampler of a sequence; each call of the result turns the next clean frame into a noisy one.

        The sampler needs memory for a few maps of the frame, independent of the number of frames.

        Parameters
        ----------
        iso : float or Tensor, shape (B,), optional
            ISO of the sequence; if None, the model's lowest.
        camera : as in `Conditions`
            Camera of the sequence.
        seed : int
            Seed of all random numbers, including the sensor's pattern.
        source : torch.Generator or Keyed, optional
            Source of the random numbers, instead of `seed`.
        temperature : float
            Factor on the latents; 1 samples the fitted density.

        Returns
        -------
        NoiseStream
            The sampler.
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
        """Draw the noise of whole sequences, with the same result as `stream` frame by frame.

        Parameters
        ----------
        clean : Tensor, shape (B, T, C, H, W)
            Clean signal of each frame, normalised.
        iso, camera, source, temperature
            As in `stream`; with a keyed source, the noise of an element does not depend on the other elements.

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
                "temporal: the model cannot sample a window of a frame; use model.stream(…).next_frame(frame).sample(…)"
            )
        stream = NoiseStream(self, cond.iso, cond.camera, generator, temperature)
        return stream.noise(cond.clean)

    def _working_dtype(self, given: torch.dtype) -> torch.dtype:
        return self.frame._working_dtype(given)


def as_temporal(model: NoiseModel, name: str) -> TemporalNoise:
    """Return the model if it is a model of sequences.

    Parameters
    ----------
    model : NoiseModel
        Any model.
    name : str
        Its name for the error message.

    Raises
    ------
    ModelError
        It is a model of single frames.
    """
    if not isinstance(model, TemporalNoise):
        raise ModelError(f"{name}: {model.spec.model} is a model of single frames; fit a sequence model with fit-video")
    return model


def one_iso(iso: Tensor | float, frames: int) -> Tensor | float:
    """The single ISO of a sequence, given one ISO or one per frame.

    Raises
    ------
    DataError
        The ISOs of the frames differ.
    """
    if not isinstance(iso, Tensor) or iso.ndim < 2:
        return iso
    if iso.shape[1] != frames or bool((iso != iso[:, :1]).any()):
        found = sorted({f"{each:g}" for each in iso.flatten().tolist()})
        raise DataError(f"iso: expected one ISO for all frames of a sequence; got {', '.join(found[:4])}: split it")
    return iso[:, 0]


def temporal_spec(frame: ModelSpec, parts: Sequence[str], pattern: str = PATTERN[0]) -> ModelSpec:
    """Make the spec of a `TemporalNoise` around a frame model.

    Parameters
    ----------
    frame : ModelSpec
        Spec of the frame model.
    parts : sequence of str
        Names in `noiseflow.models.temporal.registry.PARTS`.
    pattern : str
        ``"within"`` or ``"added"``, see `TemporalNoise`.

    Returns
    -------
    ModelSpec
        Spec for `build`.
    """
    options: dict[str, object] = {"frame": {"model": frame.model, "options": dict(frame.options)}, "parts": list(parts)}
    if pattern != PATTERN[0]:
        options["pattern"] = pattern
    if frame.before_rounding:
        options["before_rounding"] = True
    return replace(frame, model="temporal", options=options)

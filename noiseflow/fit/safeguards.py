"""Safeguards of a fit: it never ends worse than its start, and reports bad starts and bad results."""

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from safetensors.torch import save as serialise
from torch import Tensor

from noiseflow.core.errors import DataError, FitWarning, ModelError
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.model import ModelSpec, NoiseModel, build
from noiseflow.models.noise_statistics import NoiseStatistics, is_closed_form
from noiseflow.patches.store.patches import PatchBatch, Patches

__all__ = [
    "Notes",
    "best_start",
    "check_light",
    "check_neighbours",
    "check_result",
    "check_start",
    "weights_sha256",
    "without_signal",
]

WORSE = 0.01
"""A start or result is not accepted if its held-out NLL exceeds that of `gaussian` by this, nats/dim."""

DIVERGED = 0.1
"""A training is reported as diverged if its last held-out NLL exceeds the best by this, nats/dim."""

ALIKE = 3.0
"""The light is called alike if its variance is at most this multiple of that of the clean signal's own error."""

ALONE, FAR, FEWEST = 0.1, 4, 20_000
"""Correlation of neighbouring pixels that is reported, beyond that of pixels `FAR` apart; the fewest values for it."""

DARK, FADES = 0.25, 0.5
"""Quantile of the patches' light up to which they are dark; a correlation that is less than this part there is not
that of a filter."""


@dataclass
class Notes:
    """Notes about a fit for the user, which are issued as warnings and kept for ``fit.json``.

    Parameters
    ----------
    aloud : bool
        Whether to issue warnings; only one of several processes does.
    said : list of str
        The notes so far.
    """

    aloud: bool = True
    said: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Keep a note, and issue it as a `FitWarning`."""
        self.said.append(text)
        if self.aloud:
            warnings.warn(text, FitWarning, stacklevel=3)


def check_start(start: NoiseModel, spec: ModelSpec, store: Patches) -> None:
    """Refuse a start that cannot be trained with these data.

    Parameters
    ----------
    start : NoiseModel
        Fitted model from whose weights the fit starts.
    spec : ModelSpec
        Spec of the fit.
    store : PatchStore or StoreMix
        Patches of the fit.

    Raises
    ------
    ModelError
        If the model is fitted in closed form, has another spec, or is for other cameras or planes.
    """
    name = start.spec.model
    if is_closed_form(start):
        raise ModelError(f"{name}: is fitted in closed form, so it cannot be trained further; fit it anew")
    if start.spec != spec:
        raise ModelError(f"{name}: its spec differs from that of the fit; expected the spec of the model to start from")
    for what, held, wanted in (
        ("the cameras", start.spec.cameras, store.cameras),
        ("the plane layout", start.spec.layout, store.layout),
    ):
        if held != wanted:
            raise ModelError(
                f"{name}: is for {what} {held!r}, but {store.path} has {wanted!r}: fit anew, without a start"
            )


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights, over their names, shapes, types and values."""
    return hashlib.sha256(serialise({name: value.cpu().contiguous() for name, value in weights.items()})).hexdigest()


def without_signal(statistics: NoiseStatistics) -> NoiseStatistics:
    """Replace all variances by their mean: a start from these statistics is about as good as `gaussian`."""
    mean = (statistics.count * statistics.square).sum() / statistics.count.sum()
    return replace(statistics, square=mean.expand_as(statistics.square))


def check_light(statistics: NoiseStatistics, clean_variance: float, span_dn: float, notes: Notes) -> None:
    """Report cameras and ISOs whose light is the same everywhere, so that the gain is not known.

    What then differs in the clean signal is its own noise, which has no shot noise: K would come out near 0.

    Parameters
    ----------
    statistics : NoiseStatistics
        Statistics of the training data.
    clean_variance : float
        Variance of the clean signal's error, as a fraction of the noise variance.
    span_dn : float
        Range from black to white, DN.
    notes : Notes
        Receives the warnings.
    """
    for camera, name in enumerate(statistics.cameras):
        for index, iso in enumerate(statistics.isos):
            own = (statistics.camera == camera) & (statistics.iso_index == index)
            count, clean, square = (
                part[own].double() for part in (statistics.count, statistics.clean, statistics.square)
            )
            weight = count / count.sum().clamp(min=1)
            light, variance = float(weight @ clean), float(weight @ square)
            spread = float(weight @ (clean - light) ** 2)
            if light > math.sqrt(variance) > 0 and spread <= ALIKE * clean_variance * variance:
                notes.warn(
                    f"camera {name!r}, ISO {iso:g}: the light is about {light * span_dn:.3g} DN above black "
                    "everywhere, so that shot noise and read noise cannot be told apart, and the gain is not known. "
                    "Add frames of other light, or a scene with contrast"
                )


def check_neighbours(batch: PatchBatch, cameras: Sequence[str], notes: Notes) -> None:
    """Report cameras and ISOs whose noise is correlated between neighbouring pixels: the frames were filtered.

    A filter with weights w that add up to 1 multiplies the variance by Σw², and gain and read variance with it; the
    correlations of a pixel's noise with all others add up to 1/Σw².  Offsets of rows and columns reach further than a
    filter, and their share is subtracted.

    Parameters
    ----------
    batch : PatchBatch
        Some patches.
    cameras : sequence of str
        Names.
    notes : Notes
        Receives the warnings.
    """
    if min(batch.noise.shape[2:]) < 4 * FAR:
        return
    noise = batch.noise if batch.observed is None else batch.noise * batch.observed
    light = batch.clean.mean((1, 2, 3))
    for camera, iso in sorted({*zip(batch.camera.tolist(), batch.iso.tolist(), strict=True)}):
        chosen = (batch.camera == camera) & (batch.iso == iso)
        own = noise[chosen].double()
        if own.numel() < FEWEST:
            continue
        rows, columns, planes = _correlations(own)
        if max(rows, columns, planes) > ALONE:
            dark = own[light[chosen] <= light[chosen].quantile(DARK)]
            in_dark = max(_correlations(dark))
            if dark.numel() >= FEWEST and in_dark < FADES * max(rows, columns, planes):
                notes.warn(
                    f"camera {cameras[camera]!r}, ISO {iso:g}: the noise of neighbouring pixels is correlated in the "
                    f"light ({max(rows, columns, planes):.2f}), and less in the dark ({in_dark:.2f}): the scene moves "
                    "(leaves, water), or its light changes (a lamp under a rolling shutter, reflections). The gain "
                    "comes out too large. Use a still scene and steady light"
                )
                continue
            factor = (1 + 2 * max(rows, 0.0)) * (1 + 2 * max(columns, 0.0)) * (1 + 4 * max(planes, 0.0))
            notes.warn(
                f"camera {cameras[camera]!r}, ISO {iso:g}: the noise of neighbouring pixels is correlated ({rows:.2f} "
                f"along rows and {columns:.2f} along columns of a plane, {planes:.2f} between planes): were the frames "
                "denoised, resized, demosaiced or compressed? Then gain and read variance are too small for the pixels "
                f"of a sensor ({factor:.2g} times, if they were filtered). Use frames as the sensor gave them"
            )


def _correlations(noise: Tensor) -> tuple[float, float, float]:
    """Correlation of neighbours along rows, along columns, and between planes, beyond that of pixels `FAR` apart."""
    power = float(noise.square().mean())
    if not power > 0:
        return 0.0, 0.0, 0.0
    rows, columns = (
        float((each[..., 1:] * each[..., :-1]).mean() - (each[..., FAR:] * each[..., :-FAR]).mean()) / power
        for each in (noise, noise.mT)
    )
    planes = 0.0
    if noise.shape[1] == 4:
        # Two planes share the offsets of their rows, or of their columns.
        pairs = [(noise[:, a], noise[:, b]) for a, b in ((0, 1), (2, 3))]
        pairs += [(noise[:, a].mT, noise[:, b].mT) for a, b in ((0, 2), (1, 3))]
        shared = [float((a * b).mean() - (a[..., FAR:] * b[..., :-FAR]).mean()) / power for a, b in pairs]
        planes = sum(shared) / len(shared)
    return rows, columns, planes


def best_start(
    model: NoiseModel,
    starts: Mapping[str, Callable[[], None]],
    held_out: Callable[[NoiseModel], float],
    gaussian: float,
    notes: Notes,
) -> None:
    """Apply the first start that is not worse than `gaussian`, or the best one if all are.

    Parameters
    ----------
    model : NoiseModel
        The model, as it was built.
    starts : mapping of str to callable
        Name → function that sets the model's parameters; the first is the usual one.  The names appear in the
        warning.
    held_out : callable
        model → held-out NLL, nats/dim.
    gaussian : float
        Held-out NLL of `gaussian`, nats/dim.
    notes : Notes
        Receives a warning if the first start is not used.

    Raises
    ------
    DataError
        If no start has a finite NLL.
    """
    spec = model.spec
    built = {name: value.clone() for name, value in model.state_dict().items()}
    trained = {name: each.requires_grad for name, each in model.named_parameters()}

    def apply(name: str) -> float:
        if model.spec != spec and isinstance(model, FlowModel):
            # The last start may have added parts to the flow.
            fresh = build(spec)
            assert isinstance(fresh, FlowModel)
            model.flow, model.spec = fresh.flow, spec
        model.cpu().load_state_dict(built)
        for key, each in model.named_parameters():
            # Parts that a start added, such as row flicker, are trained.
            each.requires_grad_(trained.get(key, True))
        starts[name]()
        finite = all(bool(value.isfinite().all()) for value in model.state_dict().values())
        return _finite(held_out(model)) if finite else math.inf

    tried: dict[str, float] = {}
    for name in starts:
        tried[name] = apply(name)
        if tried[name] <= gaussian + WORSE:
            break
    first, best, last = next(iter(tried)), min(tried, key=lambda name: tried[name]), next(reversed(tried))
    if not math.isfinite(tried[best]):
        raise DataError(
            f"{model.spec.model}: the held-out NLL is not finite from any start; check the black and white levels of "
            "the data, or fit nlf"
        )
    if best != last:
        apply(best)
    if best != first:
        notes.warn(
            f"{model.spec.model}: {first} has a held-out NLL of {tried[first]:.4f} nats/dim (gaussian: "
            f"{gaussian:.4f}); replaced by {best} ({tried[best]:.4f})"
        )


def check_result(
    model: NoiseModel, history: Sequence[dict[str, float]], best: float, gaussian: float, notes: Notes
) -> None:
    """Report whether a training diverged, and whether its result is worse than `gaussian`.

    Parameters
    ----------
    model : NoiseModel
        The fitted model.
    history : sequence of dict
        One row per validation; the first is that of the start.
    best : float
        Held-out NLL of the weights that are kept, nats/dim.
    gaussian : float
        Held-out NLL of `gaussian`, nats/dim.
    notes : Notes
        Receives the warnings.
    """
    name = model.spec.model
    last = history[-1]["held_out_nll"]
    if len(history) > 1 and not last <= best + DIVERGED:
        epoch = min(range(len(history)), key=lambda row: _finite(history[row]["held_out_nll"]))
        kept = "the start" if not epoch else f"epoch {epoch}"
        notes.warn(
            f"{name}: the training diverged: held-out NLL {last:.4f} nats/dim after the last epoch, {best:.4f} at its "
            f"best; the weights of {kept} are kept. Lower the learning rate"
        )
    if not best <= gaussian + WORSE:
        notes.warn(
            f"{name}: not a good fit: held-out NLL {best:.4f} nats/dim (gaussian: {gaussian:.4f}); train for longer, "
            "or use nlf"
        )


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf

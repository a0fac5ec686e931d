"""A fit never ends worse than its start or than the simplest model, and says what it had to do for that."""

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
from noiseflow.patches.store.patches import Patches

__all__ = ["Notes", "best_start", "check_result", "check_start", "weights_sha256", "without_signal"]

WORSE = 0.01
"""Nats/dim of held-out NLL above `gaussian` from which a start or a result is not accepted as it is."""

DIVERGED = 0.1
"""Nats/dim of the last held-out NLL above the best from which a training is said to have diverged."""


@dataclass
class Notes:
    """What a reader of a fit must know: warned of at once, and kept for ``fit.json``.

    Parameters
    ----------
    aloud : bool
        Whether to warn; of several processes one does.
    said : list of str
        The notes so far.
    """

    aloud: bool = True
    said: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Keep a note and warn of it."""
        self.said.append(text)
        if self.aloud:
            warnings.warn(text, FitWarning, stacklevel=3)


def check_start(start: NoiseModel, spec: ModelSpec, store: Patches) -> None:
    """Refuse to go on from a model that this data cannot train.

    Parameters
    ----------
    start : NoiseModel
        Fitted model whose weights the fit is to start from.
    spec : ModelSpec
        Spec of the fit.
    store : PatchStore or StoreMix
        Patches of the fit.

    Raises
    ------
    ModelError
        The model is fitted in closed form, is none of `spec`, or is for other cameras or planes.
    """
    name = start.spec.model
    if is_closed_form(start):
        raise ModelError(f"{name}: is fitted in closed form, so there is nothing to go on from; fit it anew")
    if start.spec != spec:
        raise ModelError(f"{name}: its spec is not that of the fit; expected the spec of the model to start from")
    for what, held, wanted in (
        ("the cameras", start.spec.cameras, store.cameras),
        ("the plane layout", start.spec.layout, store.layout),
    ):
        if held != wanted:
            raise ModelError(f"{name}: is for {what} {held!r}; {store.path} has {wanted!r}: fit anew, without a start")


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Checksum of weights: names, shapes, types and values."""
    return hashlib.sha256(serialise({name: value.cpu().contiguous() for name, value in weights.items()})).hexdigest()


def without_signal(statistics: NoiseStatistics) -> NoiseStatistics:
    """The statistics of noise of one variance: what a model starts from that must not be worse than `gaussian`."""
    mean = (statistics.count * statistics.square).sum() / statistics.count.sum()
    return replace(statistics, square=mean.expand_as(statistics.square))


def best_start(
    model: NoiseModel,
    starts: Mapping[str, Callable[[], None]],
    held_out: Callable[[NoiseModel], float],
    gaussian: float,
    notes: Notes,
) -> None:
    """Give a model the first of some starts that is no worse than `gaussian`, else the best of them.

    Parameters
    ----------
    model : NoiseModel
        As it was built.
    starts : mapping of str to callable
        Each sets the model's parameters; the names stand in the warning.  The first is the usual one.
    held_out : callable
        Held-out NLL of a model, nats/dim.
    gaussian : float
        Held-out NLL of `gaussian`, nats/dim.
    notes : Notes
        Receives a warning if the first start was not taken.

    Raises
    ------
    DataError
        No start has a finite NLL.
    """
    spec = model.spec
    built = {name: value.clone() for name, value in model.state_dict().items()}
    trained = {name: each.requires_grad for name, each in model.named_parameters()}

    def apply(name: str) -> float:
        if model.spec != spec and isinstance(model, FlowModel):
            # A start may add parts to the flow.
            fresh = build(spec)
            assert isinstance(fresh, FlowModel)
            model.flow, model.spec = fresh.flow, spec
        model.cpu().load_state_dict(built)
        for key, each in model.named_parameters():
            # A start may add a part, such as flicker of the rows.
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
            f"{model.spec.model}: {first} has a held-out NLL of {tried[first]:.4f} nats/dim, gaussian {gaussian:.4f}; "
            f"replaced by {best} ({tried[best]:.4f})"
        )


def check_result(
    model: NoiseModel, history: Sequence[dict[str, float]], best: float, gaussian: float, notes: Notes
) -> None:
    """Say whether a training diverged, and whether its result is worse than `gaussian`.

    Parameters
    ----------
    model : NoiseModel
        Model that was fitted.
    history : sequence of dict
        A row for each validation; the first is the start's.
    best : float
        Held-out NLL of the weights that are kept, nats/dim.
    gaussian : float
        Held-out NLL of `gaussian`.
    notes : Notes
        Collects what is found.
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
            f"{name}: not a good fit: held-out NLL {best:.4f} nats/dim, gaussian {gaussian:.4f}; train for longer, or "
            "use nlf"
        )


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf

"""Fit a noise model and a denoiser to pairs of noisy frames, without a clean image (Noise2NoiseFlow)."""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseflow._version import __version__
from noiseflow.errors import DataError, ModelError
from noiseflow.fit.events import Events, events
from noiseflow.fit.fit import FitSettings, check_settings, chosen_device, write_history
from noiseflow.fit.held_out import train_and_held_out
from noiseflow.fit.pair_noise import PAIR_NOISE, Denoised, unexplained
from noiseflow.fit.pair_patches import NOISY_PAIR, NoisyPairs, denoised, pair_statistics
from noiseflow.fit.state import FitState, read_state, write_state
from noiseflow.flows.conditions import Conditions
from noiseflow.models.denoiser import Denoiser, DenoiserSpec, local_mean, save_denoiser
from noiseflow.models.files import STATE, claim, save, write_text
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.spec import ModelSpec
from noiseflow.patches.drawing import epoch_order
from noiseflow.patches.mix import Patches
from noiseflow.progress import Progress, silent

__all__ = ["NOISY_PAIR", "PairResult", "PairSettings", "fit_pairs"]

START_PAIRS = 1024
"""Pairs that refine a flow's start and gather a closed form's statistics between epochs."""


@dataclass(frozen=True)
class PairSettings:
    """What a fit to pairs knows beside `FitSettings`.

    Parameters
    ----------
    noise : str
        Name in `PAIR_NOISE`: ``"difference"``, or ``"residual"``, the published one.
    weight : float
        λ of the denoiser's error in the loss.
    width, depth : int
        Of the denoiser.
    """

    noise: str = "difference"
    weight: float = 1.0
    width: int = 24
    depth: int = 6


@dataclass(frozen=True)
class PairResult:
    """What a fit to pairs came to, on held-out pairs.

    Parameters
    ----------
    folder : Path
    model : NoiseModel
    denoiser : Denoiser
    start_nll, best_nll : float
        Of the noise that the pairs show, nats/dim.
    error : float
        Of the denoiser: its mean squared error over the noise's variance.
    best_epoch, epochs : int
    seconds : float
    """

    folder: Path
    model: NoiseModel
    denoiser: Denoiser
    start_nll: float
    best_nll: float
    error: float
    best_epoch: int
    epochs: int
    seconds: float

    @property
    def gain_db(self) -> float:
        """How much nearer to the clean signal the denoised frames are than the noisy ones, dB."""
        return -10 * math.log10(max(self.error, 1e-6))


class _Both(nn.Module):
    """Noise model and denoiser, trained as one."""

    def __init__(self, model: NoiseModel, denoiser: Denoiser, settings: PairSettings) -> None:
        super().__init__()
        self.model, self.denoiser, self.settings = model, denoiser, settings

    def forward(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """NLL of the noise, noise2noise's error, both to be lowered, and ε; each a mean over the batch."""
        pair = denoised(self.denoiser, *batch)
        return self.nll(pair, batch[2], batch[3]), 0.5 * pair.crossed.mean(), unexplained(pair).mean()

    def nll(self, pair: Denoised, iso: Tensor, camera: Tensor) -> Tensor:
        """Mean NLL in nats/dim of the noise that a batch of pairs shows."""
        noise, clean = PAIR_NOISE[self.settings.noise](pair)
        repeats = len(noise) // len(iso)
        cond = Conditions(clean, iso.repeat(repeats), camera.repeat(repeats))
        return -self.model.log_prob(noise, cond).mean() / noise[0].numel()


def fit_pairs(
    store: Patches,
    spec: ModelSpec,
    out: str | Path,
    settings: FitSettings | None = None,
    pair_settings: PairSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> PairResult:
    """Fit a noise model and a denoiser D to pairs x₁, x₂ of noisy frames.

    Minimises, over both at once and with v the noise's variance,

        −log p(n | c) / dims + λ·¼·mean{[(x₁ − D(x₂))² + (x₂ − D(x₁))²] / v},

    the second term being noise2noise's.  As published n is x₁ − D(x₂) and c is D(x₂), both
    ways, which adds D's own error to the noise: `residual` divides it out of the variance.
    `difference`, the default, has (x₁ − x₂)/√2 and the mean of D(x₁) and D(x₂) instead, where
    D's error is in c only.  Both start from `pair_statistics`, which need no denoiser; a model
    with a closed form is done then.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Of the pairing ``noisy-pair``; see `train_and_held_out` for what is held out.
    spec : ModelSpec
        Of the noise model.
    out : path
        Run folder: the noise model, which `noiseflow.load` takes, and in ``denoiser`` what
        `noiseflow.load_denoiser` takes.
    settings : FitSettings, optional
    pair_settings : PairSettings, optional
    resume : bool
        Go on with the fit that `out` holds: the result is the one of a fit never stopped.
    overwrite : bool
        Whether a run in `out` may be replaced.
    progress : Progress
        Told of steps done.

    Raises
    ------
    ModelError
        `out` holds a run already, or none to go on with, or one of other data or settings.
    DataError
        The store holds other than noisy pairs, or a loss became infinite or NaN.

    References
    ----------
    Maleky, Kousha, Brown, Brubaker: Noise2NoiseFlow: realistic camera noise modeling without
    clean images, CVPR 2022, section 3; Lehtinen et al.: Noise2Noise, ICML 2018.  The weight 2¹⁸ of their
    code on an error that is not divided by v is ½/v at σ = 0.0014.
    """
    settings, pair_settings = settings or FitSettings(), pair_settings or PairSettings()
    check_settings(settings)
    if pair_settings.noise not in PAIR_NOISE:
        raise DataError(f"noise of pairs {pair_settings.noise!r} is not known; expected {', '.join(PAIR_NOISE)}")
    if not pair_settings.weight > 0:
        raise DataError(f"weight of the denoiser's error: expected a positive number; got {pair_settings.weight}")
    out, device = Path(out), chosen_device(settings.device)
    if not resume:
        claim(out, overwrite=overwrite)
    began = time.monotonic()
    train, held_out = train_and_held_out(store, settings.held_out, settings.seed)
    pairs = NoisyPairs(store, np.concatenate([train, held_out]))
    both = _started(pairs, train, spec, settings, pair_settings, progress).to(device)
    start, _, _ = _judge(both, pairs, held_out, device)
    with events(out) as log:
        state = _descend(both, pairs, train, held_out, out, settings, resume=resume, progress=progress, log=log)
    nll, _, error = _judge(both, pairs, held_out, device)
    both.cpu().eval()
    seconds = time.monotonic() - began
    result = PairResult(out, both.model, both.denoiser, start, nll, error, state.best_epoch, state.epoch, seconds)
    save_denoiser(both.denoiser, out)
    save(both.model, out)
    _write_record(out, store, spec, settings, pair_settings, result)
    return result


def _started(
    pairs: NoisyPairs,
    train: NDArray[np.int64],
    spec: ModelSpec,
    settings: FitSettings,
    pair_settings: PairSettings,
    progress: Progress,
) -> _Both:
    """Both at their start, which knows the noise level function from the pairs' statistics."""
    denoiser = Denoiser(
        DenoiserSpec(spec.layout, spec.cameras, spec.isos, pair_settings.width, pair_settings.depth, settings.seed)
    )
    statistics = pair_statistics(pairs, train, progress)
    denoiser.level.start_from(statistics)
    model = build(spec)
    model.start_from(statistics)
    first, second, iso, camera = pairs.read(_some(train, settings), torch.device("cpu"))
    clean = local_mean(0.5 * (first + second))
    model.start_from_patches((first - second) / math.sqrt(2), Conditions(clean, iso, camera))
    return _Both(model, denoiser, pair_settings)


def _some(train: NDArray[np.int64], settings: FitSettings) -> NDArray[np.int64]:
    return np.random.default_rng(settings.seed).permutation(train)[:START_PAIRS]


@torch.no_grad()
def _judge(both: _Both, pairs: NoisyPairs, rows: NDArray[np.int64], device: torch.device) -> tuple[float, float, float]:
    """NLL, noise2noise's error and ε over the given pairs."""
    both.eval()
    totals = np.zeros(3)
    for start in range(0, len(rows), 128):
        some = rows[start : start + 128]
        totals += len(some) * np.array([float(value) for value in both(pairs.read(some, device))])
    nll, crossed, error = totals / len(rows)
    return float(nll), float(crossed), float(error)


def _descend(
    both: _Both,
    pairs: NoisyPairs,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    out: Path,
    settings: FitSettings,
    *,
    resume: bool,
    progress: Progress,
    log: Events,
) -> FitState:
    began = time.monotonic()
    device = next(both.parameters()).device
    weight, closed = both.settings.weight, both.model.closed_form
    steps = min(math.ceil(len(train) / settings.batch), settings.steps_per_epoch or len(train))
    learned = both.denoiser.layers if closed else both
    optimiser = torch.optim.Adam(
        [parameter for parameter in learned.parameters() if parameter.requires_grad], lr=settings.learning_rate
    )
    arguments = _must_match(pairs.store, both, settings)

    def judged() -> tuple[float, dict[str, float]]:
        nll, crossed, error = _judge(both, pairs, held_out, device)
        total = weight * crossed + (0.0 if closed else nll)
        return total, {"held_out_nll": nll, "held_out_error": error}

    total, row = judged()
    state = FitState(best_nll=total, arguments=arguments)
    state.history.append({"epoch": 0, "train_loss": math.nan, **row, "held_out_loss": total, "seconds": 0.0})
    best = _copy(both)
    if resume:
        state, weights, best = read_state(out / STATE, optimiser)
        if state.arguments != arguments:
            changed = sorted(key for key in arguments if state.arguments.get(key) != arguments[key])
            raise ModelError(f"{out}: the fit to go on with had other {', '.join(changed)}; use the same, or fit anew")
        both.load_state_dict(weights)
    spent = earlier = state.history[-1]["seconds"]
    while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
        if settings.max_minutes is not None and spent >= 60 * settings.max_minutes:
            break
        rate = 0.5 * settings.learning_rate * (1 + math.cos(math.pi * state.epoch / settings.epochs))
        for group in optimiser.param_groups:
            group["lr"] = rate
        both.train()
        summed = 0.0
        order = epoch_order(train, settings.seed, state.epoch, pairs.store.weights(train))
        for step in range(steps):
            rows = order[step * settings.batch : (step + 1) * settings.batch]
            nll, crossed, _ = both(pairs.read(rows, device))
            loss = weight * crossed + (0.0 if closed else nll)
            if not torch.isfinite(loss):
                raise DataError(
                    f"{pairs.store.path}: the loss became {float(loss)} at epoch {state.epoch + 1}, step {step + 1}; "
                    f"look at patches {rows[:5].tolist()} or lower the learning rate"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(both.parameters(), settings.clip)
            optimiser.step()
            summed += float(loss.detach())
            last = state.history[-1]
            note = (
                f"epoch {state.epoch + 1}, NLL {last['held_out_nll']:.4f} nats/dim, error {last['held_out_error']:.3f}"
            )
            progress(state.epoch * steps + step + 1, settings.epochs * steps, note)
        total, row = judged()
        state.epoch += 1
        spent = earlier + time.monotonic() - began
        row = {
            "epoch": state.epoch,
            "train_loss": summed / steps,
            **row,
            "held_out_loss": total,
            "seconds": round(spent, 1),
        }
        state.history.append(row)
        log(state.epoch, row)
        if total < state.best_nll:
            state.best_nll, state.best_epoch, best = total, state.epoch, _copy(both)
        write_state(out / STATE, state, both.state_dict(), best, optimiser)
        write_history(out, state)
    both.load_state_dict(best)
    write_history(out, state)
    return state


def _copy(both: _Both) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in both.state_dict().items()}


def _must_match(store: Patches, both: _Both, settings: FitSettings) -> dict[str, Any]:
    kept = {
        name: value for name, value in asdict(settings).items() if name not in ("device", "max_minutes", "patience")
    }
    spec = json.loads(both.model.spec.to_json())
    return {"data": store.fingerprint, "spec": spec, "pairs": asdict(both.settings), **kept}


def _write_record(
    out: Path, store: Patches, spec: ModelSpec, settings: FitSettings, pairs: PairSettings, result: PairResult
) -> None:
    record = {
        "tool": f"noiseflow {__version__}",
        "torch": torch.__version__,
        "store": str(store.path),
        "data": store.fingerprint,
        "settings": asdict(settings),
        "pairs": asdict(pairs),
        "unit": spec.unit,
        "held_out_nll_start_nats_per_dim": result.start_nll,
        "held_out_nll_nats_per_dim": result.best_nll,
        "denoiser_error_over_noise_variance": result.error,
        "denoiser_gain_db": result.gain_db,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
    }
    write_text(out / "fit.json", json.dumps(record, indent=2) + "\n")

"""``noiseflow fit``."""

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noiseflow.cli.choices import Registered
from noiseflow.cli.config import config_option
from noiseflow.cli.interrupts import keeps, kept_run
from noiseflow.cli.options import MOST_DIGITS, PATH, device_option, out_option, overwrite_option, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer
from noiseflow.core.errors import ModelError
from noiseflow.core.progress import silent

if TYPE_CHECKING:
    from noiseflow.fit import FitSettings

__all__ = ["fit"]

SETTINGS = "noiseflow.fit.training.settings"


def _patches(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value == "auto":
        return None
    if not value.isdecimal() or len(value) > MOST_DIGITS or int(value) < 1:
        raise click.BadParameter(f"{value!r}: expected auto, or a whole number of 1 or more")
    return int(value)


def _named(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Parse NAME=VALUE options; a value is read as JSON, such as 2, 0.1 or true, or else kept as text."""
    options: dict[str, Any] = {}
    for each in values:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{each!r}: expected NAME=VALUE, such as couplings=4")
        try:
            options[name] = json.loads(value)
        except (ValueError, RecursionError):
            options[name] = value
    return options


def _rate_of(settings: "FitSettings") -> str:
    """Say how the learning rate of a continued fit went on."""
    if settings.schedule == "cosine":
        return f"the learning rate went on as in a fit of {settings.epochs} epochs, by the cosine schedule to 0"
    return f"the learning rate went on by the schedule {settings.schedule!r}"


def _check_origin(origin: Path | None, options: dict[str, Any]) -> None:
    """Refuse --model and --option together with --from, which uses the model of its run."""
    if origin is None:
        return
    source = click.get_current_context().get_parameter_source("model")
    if options or source is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--from uses the model of its run; leave out --model and --option")


@click.command()
@click.argument("stores", type=PATH, nargs=-1, required=True, metavar="STORE...")
@click.option(
    "--model",
    default="physics_flow",
    show_default=True,
    metavar="NAME",
    help="Model to fit, or a published architecture string such as 'sdn5|unc|gain4|unc'. For a list of models, give "
    "an unknown name.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    callback=_named,
    metavar="NAME=VALUE",
    help="Model option, such as couplings=4; repeatable. For a list of options, give an unknown name.",
)
@out_option("Run folder to write.")
@config_option
@click.option(
    "--weight",
    type=click.FloatRange(min=0),
    multiple=True,
    help="Sampling weight, one for each STORE; by default each patch is drawn once per epoch.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="Train for at most this many epochs."
)
@click.option(
    "--steps-per-epoch",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Train for at most this many steps per epoch.",
)
@click.option(
    "--batch",
    "--batch-size",
    "batch",
    callback=_patches,
    default="128",
    show_default=True,
    metavar="N|auto",
    help="Patches per step; auto: doubled for as long as more patches are trained per second.",
)
@click.option("--learning-rate", type=float, default=2e-3, show_default=True, help="Highest learning rate.")
@click.option(
    "--schedule",
    type=Registered(f"{SETTINGS}:CHOICES:schedule"),
    default="cosine",
    show_default=True,
    help="Learning rate: cosine decay to zero; plateau: halved when the held-out NLL stops falling; or constant.",
)
@click.option("--warmup", type=click.IntRange(min=0), default=0, show_default=True, help="Steps of linear warm-up.")
@click.option(
    "--optimiser",
    type=Registered(f"{SETTINGS}:CHOICES:optimiser"),
    default="adam",
    show_default=True,
    help="Optimiser of the training steps.",
)
@click.option(
    "--weight-decay",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Weight decay of the optimiser.",
)
@click.option(
    "--clip",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Clip the gradient norm at this value.",
)
@click.option(
    "--ema",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.0,
    show_default=True,
    help="Decay per step of an exponential moving average of the weights, which is validated and saved; 0: none.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Stop after this many epochs without a lower held-out NLL.",
)
@click.option(
    "--objective",
    type=Registered(f"{SETTINGS}:OBJECTIVES"),
    default="auto",
    show_default=True,
    help="Likelihood: density at the integer codes, or probability of the codes (for noise of few DN, or clipping); "
    "auto: the probability if the noise is below 2 DN.",
)
@click.option("--max-minutes", type=float, help="Stop after this many minutes.")
@click.option(
    "--precision",
    type=Registered(f"{SETTINGS}:CHOICES:precision"),
    default="float32",
    show_default=True,
    help="Precision of the networks; densities are always float32.",
)
@device_option
@click.option(
    "--compile/--no-compile",
    "compiling",
    default=None,
    help="Compile small convolutions on a CPU.  [default: if the training is long enough to benefit]",
)
@click.option(
    "--state-seconds",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Checkpoint interval in seconds; a crash loses at most this much work.",
)
@click.option(
    "--pair-noise",
    type=Registered("noiseflow.fit.noisy_pairs.noise_target:PAIR_NOISE"),
    default="difference",
    show_default=True,
    help="Noisy pairs only: noise that the model is fitted to.",
)
@click.option(
    "--pair-weight",
    type=float,
    default=1.0,
    show_default=True,
    help="Noisy pairs only: weight of the denoiser's error in the loss.",
)
@click.option(
    "--from",
    "origin",
    type=PATH,
    metavar="RUN",
    help="Start from the weights of this run, with a new optimiser and schedule; also on other data of the same "
    "cameras.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the fit in the run folder; a finished one with more --epochs, on the schedule of the longer fit.",
)
@seed_option
@overwrite_option
def fit(
    stores: tuple[Path, ...],
    weight: tuple[float, ...],
    model: str,
    options: dict[str, Any],
    out: Path,
    epochs: int,
    steps_per_epoch: int,
    batch: int | None,
    learning_rate: float,
    schedule: str,
    warmup: int,
    optimiser: str,
    weight_decay: float,
    clip: float,
    ema: float,
    patience: int,
    objective: str,
    max_minutes: float | None,
    precision: str,
    device: str,
    compiling: bool | None,
    state_seconds: float,
    pair_noise: str,
    pair_weight: float,
    origin: Path | None,
    resume: bool,
    seed: int,
    overwrite: bool,
) -> None:
    """Fit a noise model to patch stores by maximum likelihood.

    For a store of noisy pairs (ingest --pairing noisy-pair), a denoiser is trained together with the model.

    \b
    noiseflow fit patches.h5 --out run/
    noiseflow fit patches.h5 --out run/ --resume --epochs 40
    noiseflow fit patches.h5 --from run/ --epochs 10 --out longer/
    torchrun --nproc-per-node 4 --max-restarts 3 -m noiseflow fit patches.h5 --out run/
    """  # noqa: D301
    from noiseflow.core.output.checks import check_output, writing
    from noiseflow.fit import (
        NOISY_PAIR,
        FitResult,
        FitSettings,
        PairResult,
        PairSettings,
        fit as run,
        fit_pairs,
        spec_for,
    )
    from noiseflow.fit.training.ranks import joined
    from noiseflow.models import load
    from noiseflow.patches import PatchStore, StoreMix

    _check_origin(origin, options)
    inputs = [*stores, *([origin] if origin else [])]
    settings = FitSettings(
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup=warmup,
        optimiser=optimiser,
        weight_decay=weight_decay,
        clip=clip,
        ema=ema,
        patience=patience,
        objective=objective,
        max_minutes=max_minutes,
        precision=precision,
        steps_per_epoch=steps_per_epoch,
        seed=seed,
        device=device,
        compile={None: "auto", True: "on", False: "off"}[compiling],
        state_seconds=state_seconds,
    )
    keeps(partial(kept_run, out))
    with joined() as ranks:
        if ranks.world > 1:
            check_output(out, folder=True, inputs=inputs, goes_on=True)
        else:
            # This takes the lock too, so that another process writing here is reported, not its unfinished run.
            with writing(out, folder=True, inputs=inputs, overwrite=overwrite, goes_on=resume):
                pass
        opened = [PatchStore(store) for store in stores]
        patches = opened[0] if len(opened) == 1 and not weight else StoreMix(opened, weight or None)
        start = None if origin is None else load(origin)
        if start is not None:
            model = start.spec.model
        spec = spec_for(patches, model, options) if start is None else start.spec
        with shown(f"fit {model}", "steps") if ranks.leads else nullcontext(silent) as progress:
            if patches.pairing == NOISY_PAIR:
                if start is not None:
                    raise ModelError("--from: a fit to noisy pairs also trains a denoiser; it cannot start from a run")
                pairs = PairSettings(noise=pair_noise, weight=pair_weight)
                result: FitResult | PairResult = fit_pairs(
                    patches, spec, out, settings, pairs, resume=resume, overwrite=overwrite, progress=progress
                )
            else:
                result = run(
                    patches, spec, out, settings, start=start, resume=resume, overwrite=overwrite, progress=progress
                )
        if not ranks.leads:
            return
    answer(f"held-out NLL {result.best_nll:.4f} nats/dim (start {result.start_nll:.4f}), epoch {result.best_epoch}")
    if isinstance(result, FitResult):
        answer(f"objective: {result.objective.name}, {result.objective.reason}")
        if result.continued:
            answer(f"continued after epoch {result.continued[-1]}: {_rate_of(settings)}")
        for found in result.components:
            answer(f"found: {found}")
        for estimate in result.estimates:
            answer(str(estimate))
    if isinstance(result, PairResult):
        answer(f"denoiser: {result.gain_db:.1f} dB closer to the clean signal than the noisy frames")
    answer(f"{out}: {model}, fitted in {result.seconds:.0f} s")

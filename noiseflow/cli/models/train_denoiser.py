"""``noiseflow train-denoiser``."""

import os
from functools import partial
from pathlib import Path

import click

from noiseflow.cli.interrupts import keeps, kept_run
from noiseflow.cli.options import PATH, device_option, out_option, overwrite_option, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer

__all__ = ["train_denoiser"]

STEPS_A_VALIDATION, FEWEST_VALIDATIONS = 250, 4


@click.command("train-denoiser")
@out_option("Run folder to write.")
@click.option(
    "--model",
    metavar="RUN|PROFILE|CAMERA",
    help="Noise model to train on; by default cameras drawn from the prior over cameras.",
)
@click.option("--frames", type=PATH, help="Folder of clean raw frames with the clean signals.")
@click.option(
    "--pictures",
    type=PATH,
    help="Folder of sRGB pictures with the clean signals; without --frames and --pictures, built-in pictures.",
)
@click.option("--from", "origin", type=PATH, help="Start from the network in this run; by default the shipped one.")
@click.option("--scratch", is_flag=True, help="Start from a new network with random weights.")
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Training steps.")
@click.option("--batch", type=click.IntRange(min=1), default=6, show_default=True, help="Crops per step.")
@click.option(
    "--side", type=click.IntRange(min=8), default=80, show_default=True, help="Side of a crop in pixels of a plane."
)
@click.option("--learning-rate", type=float, help="Highest learning rate; by default 5e-4, or 2e-3 with --scratch.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bf16"]),
    default="float32",
    show_default=True,
    help="Precision of the network.",
)
@click.option("--max-minutes", type=float, help="Stop after this many minutes and keep the best weights so far.")
@click.option("--resume", is_flag=True, help="Continue the training in the run folder.")
@device_option
@seed_option
@overwrite_option
def train_denoiser(
    out: Path,
    model: str | None,
    frames: Path | None,
    pictures: Path | None,
    origin: Path | None,
    scratch: bool,
    steps: int,
    batch: int,
    side: int,
    learning_rate: float | None,
    precision: str,
    max_minutes: float | None,
    resume: bool,
    device: str,
    seed: int,
    overwrite: bool,
) -> None:
    """Train the network of noiseflow denoise further, for one camera or on your own pictures.

    Training starts from the shipped network and adds noise drawn from the model to clean frames or
    pictures. Use the result with noiseflow denoise RUN NOISY.

    \b
    noiseflow train-denoiser --model run/ --out run-denoiser/
    noiseflow train-denoiser --model camera.json --pictures holiday/ --out run-denoiser/
    """  # noqa: D301
    from noiseflow.core.output.checks import check_output, writing

    if scratch and origin is not None:
        raise click.UsageError("--scratch starts from a new network; leave out --from")
    inputs = [path for path in (frames, pictures, origin) if path is not None]
    if model is not None and Path(model).exists():
        inputs.append(Path(model))
    if "LOCAL_RANK" in os.environ:
        check_output(out, folder=True, inputs=inputs, goes_on=True)
    else:
        # This takes the lock too, so that another process writing here is reported before the slow preparation of
        # the clean signals.
        with writing(out, folder=True, inputs=inputs, overwrite=overwrite, goes_on=resume):
            pass
    keeps(partial(kept_run, out))

    from noiseflow.augment.denoise.files import load_photo_denoiser
    from noiseflow.augment.denoise.shipped import shipped_denoiser
    from noiseflow.augment.denoise.training.sources import trained_on
    from noiseflow.augment.denoise.training.train import DenoiserSettings, train_photo_denoiser
    from noiseflow.models import load

    start = None if scratch else shipped_denoiser() if origin is None else load_photo_denoiser(origin)
    data = trained_on(side, None if model is None else load(model), frames=frames, pictures=pictures)
    settings = DenoiserSettings(
        learning_rate=learning_rate or (2e-3 if scratch else 5e-4),
        steps=steps,
        batch=batch,
        side=side,
        validations=max(FEWEST_VALIDATIONS, steps // STEPS_A_VALIDATION),
        precision=precision,
        max_minutes=max_minutes,
        seed=seed,
        device=device,
    )
    with shown("train", "steps") as progress:
        result = train_photo_denoiser(
            data.train,
            data.held_out,
            out,
            settings,
            start=start,
            about={"noise": data.noise, "clean": data.clean},
            resume=resume,
            overwrite=overwrite,
            inputs=inputs,
            progress=progress,
        )
    answer(f"held-out error {result.error:.4f} σ²/2 (start {result.start_error:.4f})")
    answer(f"{out}: photo denoiser, {result.steps} steps in {result.seconds:.0f} s")

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
    "--model", metavar="RUN|PROFILE|CAMERA", help="Noise to train on; without it, cameras drawn from the prior."
)
@click.option("--frames", type=PATH, help="Take the clean signals from the clean raw frames in this folder.")
@click.option(
    "--pictures", type=PATH, help="Take them from the sRGB pictures in this folder; without either, built-in ones."
)
@click.option("--from", "origin", type=PATH, help="Go on from the network in this run; the shipped one if not given.")
@click.option("--scratch", is_flag=True, help="Begin with a new network.")
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Training steps.")
@click.option("--batch", type=click.IntRange(min=1), default=6, show_default=True, help="Crops per step.")
@click.option(
    "--side", type=click.IntRange(min=8), default=80, show_default=True, help="Side of a crop in pixels of a plane."
)
@click.option("--learning-rate", type=float, help="Highest learning rate; 5e-4, and 2e-3 with --scratch.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bf16"]),
    default="float32",
    show_default=True,
    help="Precision of the network.",
)
@click.option("--max-minutes", type=float, help="Stop after this many minutes, with the best weights so far.")
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

    It begins with the shipped network and learns the noise of any model, whose samples are added to
    clean frames or pictures. noiseflow denoise RUN NOISY uses the result.

    \b
    noiseflow train-denoiser --model run/ --out run-denoiser/
    noiseflow train-denoiser --model camera.json --pictures holiday/ --out run-denoiser/
    """  # noqa: D301
    from noiseflow.core.output.checks import check_output, writing

    if scratch and origin is not None:
        raise click.UsageError("--scratch begins with a new network; it does not go with --from")
    inputs = [path for path in (frames, pictures, origin) if path is not None]
    if model is not None and Path(model).exists():
        inputs.append(Path(model))
    if "LOCAL_RANK" in os.environ:
        check_output(out, folder=True, inputs=inputs, goes_on=True)
    else:
        # Its lock too: another writer is named before the clean signals are made, which takes longest.
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

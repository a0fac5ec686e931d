"""``noiseflow distill``."""

import os
from functools import partial
from pathlib import Path

import click

from noiseflow.cli.interrupts import keeps, kept_run
from noiseflow.cli.options import PATH, device_option, out_option, overwrite_option, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer
from noiseflow.core.errors import DataError
from noiseflow.core.progress import silent

__all__ = ["distill"]


@click.command()
@click.argument("run", type=PATH)
@out_option("Run folder to write.")
@click.option("--store", type=PATH, help="Patch store with the clean signals.")
@click.option(
    "--frames",
    type=PATH,
    help="Folder of clean raw frames with the clean signals; without --store and --frames, built-in pictures.",
)
@click.option("--steps", type=click.IntRange(min=1), default=1500, show_default=True, help="Training steps.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Clean patches per step.")
@click.option("--learning-rate", type=float, default=4e-3, show_default=True, help="Highest learning rate.")
@click.option("--blocks", type=click.IntRange(min=1), default=1, show_default=True, help="Blocks of the student.")
@click.option("--width", type=click.IntRange(min=1), default=16, show_default=True, help="Hidden planes per block.")
@click.option("--resume", is_flag=True, help="Continue the distillation in the run folder.")
@device_option
@seed_option
@overwrite_option
def distill(
    run: Path,
    out: Path,
    store: Path | None,
    frames: Path | None,
    steps: int,
    batch: int,
    learning_rate: float,
    blocks: int,
    width: int,
    resume: bool,
    device: str,
    seed: int,
    overwrite: bool,
) -> None:
    """Train a fast one-pass sampler (iaf) to match the model in RUN, which samples slowly (maf).

    Training needs only clean signals, no noise. The command prints the remaining KL divergence
    between student and teacher, and how much faster the student samples.

    \b
    noiseflow distill run-teacher/ --store patches.h5 --out run-student/
    torchrun --nproc-per-node 4 -m noiseflow distill run-teacher/ --store patches.h5 --out run-student/
    """  # noqa: D301
    from contextlib import ExitStack

    from noiseflow.core.output.checks import check_output, writing
    from noiseflow.fit.clean_sources import clean_frames, clean_patches, clean_pictures
    from noiseflow.fit.distillation import DistillSettings, distill as train
    from noiseflow.fit.training.ranks import joined
    from noiseflow.models import load
    from noiseflow.patches import PatchStore

    if store and frames:
        raise DataError("give the clean signals with --store or with --frames, not both")
    inputs = [path for path in (run, store, frames) if path is not None]
    if "LOCAL_RANK" in os.environ:
        check_output(out, folder=True, inputs=inputs, goes_on=True)
    else:
        # This takes the lock too, so that another process writing here is reported before the teacher is loaded.
        with writing(out, folder=True, inputs=inputs, overwrite=overwrite, goes_on=resume):
            pass
    keeps(partial(kept_run, out))
    teacher = load(run)
    settings = DistillSettings(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        blocks=blocks,
        width=width,
        seed=seed,
        device=device,
    )
    with ExitStack() as stack:
        ranks = stack.enter_context(joined())
        held_out = None
        if store:
            patches = stack.enter_context(PatchStore(store))
            clean = clean_patches(patches, teacher.spec)
            held_out = clean_patches(patches, teacher.spec, "val")
        elif frames:
            clean = clean_frames(frames, teacher.spec)
        else:
            clean = clean_pictures(teacher.spec)
        progress = stack.enter_context(shown("distil", "steps")) if ranks.leads else silent
        result = train(
            teacher, clean, out, settings, held_out=held_out, resume=resume, overwrite=overwrite, progress=progress
        )
        if not ranks.leads:
            return
    answer(f"remaining KL {result.kl:.5f} ± {result.kl_error:.5f} nats/dim (start {result.start_kl:.4f})")
    answer(
        f"128×128 pixels of each plane: teacher {result.teacher_seconds * 1e3:.0f} ms, "
        f"student {result.student_seconds * 1e3:.1f} ms, {result.speed_up:.0f}× faster"
    )
    answer(f"{out}: iaf, distilled in {result.seconds:.0f} s")

"""Distil a MAF into a one-pass student and say what is lost and what is won.

python -m tools.workloads.distill work/

The data: the camera ROW-12 with a line amplifier that lags and a pixel that leaks into the one
below, so that the noise is correlated at every signal.  Done when sampling 128×128×4 is a
hundred times faster than the teacher's and less than 0.01 nats/dim of KL is left.
"""

import json
import time
from pathlib import Path

import click
import numpy as np
import torch
from scipy.signal import lfilter

from noiseflow.cli.progress import shown
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.clean_sources import CleanSource, clean_patches
from noiseflow.fit.distillation import DistillSettings, distill, divergence
from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel
from noiseflow.models.flow.flow_model import ResidualFlow
from noiseflow.patches import PatchStore, ingest
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import simulate

LAG, LEAK = 0.4, 0.25
"""Part of its left neighbour's noise that a pixel of a plane carries on, and of the one above that it adds."""

LEAST_SPEED_UP, MOST_KL = 100.0, 0.01


@click.command()
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--blocks", type=int, default=4, show_default=True, help="Of the teacher.")
@click.option("--epochs", type=int, default=12, show_default=True, help="Of the teacher's fit, at the most.")
@click.option("--steps", type=int, default=DistillSettings.steps, show_default=True, help="Of the distillation.")
@click.option("--student-blocks", type=int, default=DistillSettings.blocks, show_default=True)
@click.option("--student-width", type=int, default=DistillSettings.width, show_default=True)
@click.option("--scenes", type=int, default=20, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True, help="Of torch.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(
    work: Path,
    blocks: int,
    epochs: int,
    steps: int,
    student_blocks: int,
    student_width: int,
    scenes: int,
    threads: int,
    seed: int,
) -> None:
    """Simulate, fit a teacher and distil it in the folder WORK, print the two figures; status 1 if one fails."""
    torch.set_num_threads(threads)
    store = work / "patches.h5"
    if not store.exists():
        work.mkdir(parents=True, exist_ok=True)
        make_store(work / "raws", store, scenes, seed)
    with PatchStore(store) as patches:
        nlf = fit(patches, spec_for(patches, "nlf"), work / "nlf", overwrite=True)
        spec = spec_for(patches, "maf", {"blocks": blocks, "seed": seed})
        settings = FitSettings(epochs=epochs, batch=32, steps_per_epoch=150, seed=seed)
        with shown("teacher", "steps") as progress:
            taught = fit(patches, spec, work / "teacher", settings, overwrite=True, progress=progress)
        click.echo(f"teacher: {blocks} blocks, fitted in {taught.seconds:.0f} s: held-out NLL {taught.best_nll:.4f}")
        click.echo(f"         nats/dim, {nlf.best_nll - taught.best_nll:.4f} below the noise level function")
        train, held_out = (clean_patches(patches, spec, split) for split in ("train", "test"))
        options = DistillSettings(steps=steps, blocks=student_blocks, width=student_width, seed=seed)
        with shown("distil", "steps") as progress:
            result = distill(
                taught.model, train, work / "student", options, held_out=held_out, overwrite=True, progress=progress
            )
        student = result.model
        assert isinstance(student, ResidualFlow)
        large = divergence(student, taught.model, enlarged(held_out), 32, seed + 2, batch=4)
        student_nll = held_out_nll(student, patches)
        teacher_nll = held_out_nll(taught.model, patches)
    kind = f"{student_blocks} block(s) of width {student_width}"
    click.echo(f"student: {kind}, distilled in {result.seconds:.0f} s, {steps} steps")
    click.echo(f"KL left: {result.kl:.5f} ± {result.kl_error:.5f} nats/dim on 32×32×4 (start {result.start_kl:.4f})")
    click.echo(f"         {large[0]:.5f} ± {large[1]:.5f} nats/dim on 128×128×4")
    click.echo(f"NLL on the test patches: student {student_nll:.4f}, teacher {teacher_nll:.4f} nats/dim")
    one_pass = full_passes(taught.model)
    click.echo(f"sampling 128×128×4 on {threads} threads: teacher {result.teacher_seconds * 1e3:.1f} ms front by front")
    click.echo(
        f"         ({one_pass:.0f} s by a whole pass for each value), student {result.student_seconds * 1e3:.2f} ms"
    )
    click.echo(f"speed-up: {result.speed_up:.0f}× ({one_pass / result.student_seconds:.3g}× against whole passes)")
    done = result.speed_up >= LEAST_SPEED_UP and result.kl < MOST_KL and large[0] < MOST_KL
    click.echo("done" if done else f"not done: {LEAST_SPEED_UP:g}× and {MOST_KL:g} nats/dim are the target")
    raise SystemExit(0 if done else 1)


def make_store(raws: Path, store: Path, scenes: int, seed: int) -> None:
    """Simulated frames whose noise is correlated, as a patch store."""
    manifest = simulate(raws, "ROW-12", (400, 1600), scenes=scenes, size=(256, 384), seed=seed, overwrite=True)
    for scene in manifest["scenes"]:
        clean = read_raw(raws / scene["clean"]).normalised()
        for name in scene["noisy"]:
            noisy = read_raw(raws / name)
            noise = lfilter([1.0], [1.0, -LAG], noisy.normalised() - clean, axis=-1)
            noise[:, 1:] += LEAK * noise[:, :-1]
            write_dng(raws / name, noisy.with_signal(clean + noise), overwrite=True)
    # The manifest's truth is that of the camera without the lag.
    path = raws / "simulation.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "truth": {}}), encoding="utf-8")
    ingest([raws], store, overwrite=True)


def enlarged(source: CleanSource) -> CleanSource:
    """Four by four patches of a source side by side: 128×128 for 32×32."""

    def draw(rng: np.random.Generator, count: int) -> Conditions:
        cond = source(rng, count)
        return Conditions(cond.clean.repeat(1, 1, 4, 4), cond.iso, cond.camera)

    return draw


@torch.no_grad()
def held_out_nll(model: NoiseModel, patches: PatchStore) -> float:
    """NLL on the test split, nats/dim."""
    total, count = 0.0, 0
    for batch in patches.batches("test"):
        log_prob = model.log_prob(batch.noise, Conditions(batch.clean, batch.iso, batch.camera))
        total, count = total - float(log_prob.double().sum()), count + batch.noise.numel()
    return total / count


@torch.no_grad()
def full_passes(teacher: NoiseModel, side: int = 128) -> float:
    """Seconds that one pass of every block for each value would take, as sampling by definition does."""
    clean = torch.full((1, teacher.planes, side, side), 0.1)
    cond = Conditions(clean, teacher.spec.isos[0], 0)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        teacher.log_prob(torch.zeros_like(clean), cond)
        times.append(time.perf_counter() - began)
    return min(times) * clean.numel()


if __name__ == "__main__":
    main()

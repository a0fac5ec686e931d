"""Make docs/results.md: every figure in it, by the benchmark and data that it names.

python -m tools.results docs/results.md --data ../shared/data --work results --jobs 2
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch

from noiseflow._version import __version__
from noiseflow.cli.progress import shown
from noiseflow.evaluate.baselines import baselines
from noiseflow.evaluate.benchmark import benchmark
from noiseflow.evaluate.benchmark_page import markdown
from noiseflow.evaluate.benchmark_spec import read_spec
from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel, import_published, load
from noiseflow.models.nlf import NoiseLevelFunction
from noiseflow.models.oracle import oracle_log_prob
from noiseflow.patches import PatchStore
from noiseflow.simulate import load_camera

PUBLISHED = "published/noise_flow_weights.npz"
GOLDEN = "published/noise_flow_golden.npz"
ELECTRONS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, np.inf)
EMVA, KNOWN = "EMVA 1288 set 001", "PG-12"
"""Data with figures of its own, where the spec has it."""


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--spec",
    type=click.Path(path_type=Path, exists=True),
    default=Path(__file__).with_name("results.toml"),
    help="The benchmark.",
)
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=Path("../shared/data"), show_default=True)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder of the benchmark; what is finished in it is not run again.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
def main(out: Path, spec: Path, data: Path, work: Path, jobs: int) -> None:
    """Write the page of results to OUT, with the real data in the folder --data."""
    began = time.monotonic()
    # Paths of real data in the spec are relative to the folder of real data.
    wanted = dataclasses.replace(read_spec(spec), folder=data)
    with shown("benchmark", "cells") as progress:
        rows = benchmark(wanted, work, jobs=jobs, progress=progress)
    lines = list(header())
    if (data / GOLDEN).is_file():
        lines += parity(data)
    lines += ["", "## The benchmark", "", "```", f"noiseflow benchmark {spec.name} --out results", "```", ""]
    lines += [markdown(wanted, rows)]
    names = [each.name for each in wanted.data]
    if EMVA in names:
        lines += emva(work)
    if KNOWN in names:
        lines += poisson_gaussian(work)
    lines += ["", f"This run took {(time.monotonic() - began) / 60:.0f} minutes with {jobs} cells at a time."]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    click.echo(out)


def header() -> Iterator[str]:
    """What the page is and how it is made."""
    yield "# Results"
    yield ""
    yield f"Made by `python -m tools.results docs/results.md` with noiseflow {__version__}, torch {torch.__version__}."
    yield "NLL is natural log. *nats/dim* is of the normalised signal; *nats/pixel in DN* adds log(white − black)."


def table(*rows: tuple[object, ...]) -> Iterator[str]:
    """A Markdown table; the first row is its head."""
    yield ""
    for index, row in enumerate(rows):
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
        if index == 0:
            yield "|" + "---|" * len(row)


@torch.no_grad()
def parity(data: Path) -> Iterator[str]:
    """Against the golden file of the authors' own code, and there and back."""
    model = import_published(data / PUBLISHED)
    worst = dict.fromkeys(("z", "log-det", "NLL", "sample", "round trip"), 0.0)
    with np.load(data / GOLDEN) as golden:
        for case in range(len(golden["cam"])):
            x, y, z, zin, xout = (
                torch.from_numpy(golden[name][case]).movedim(-1, 1) for name in ("x", "y", "z", "zin", "xout")
            )
            cond = Conditions(y, float(golden["iso"][case]), int(golden["cam"][case])).resolve(model.cameras)
            ours, log_det = model.flow(x, cond)
            pairs = {
                "z": (ours, z),
                "log-det": (log_det, torch.from_numpy(golden["logdet"][case])),
                "NLL": (-model.log_prob(x, cond), torch.from_numpy(golden["nll"][case])),
                "sample": (model.flow.inverse(zin, cond), xout),
                "round trip": (model.flow.inverse(ours, cond), x),
            }
            for name, (a, b) in pairs.items():
                worst[name] = max(worst[name], float((a - b).abs().max() / b.abs().max()))
    yield "\n## Parity with the authors' code"
    yield ""
    yield "`noiseflow import` of the published weights against the golden outputs of the authors' TensorFlow code,"
    yield "13 cases of camera and ISO; largest difference over the largest value, float32."
    limits = {"z": "1e-4", "log-det": "1e-4", "NLL": "1e-4", "sample": "1e-5", "round trip": "1e-5"}
    lines = [(name, f"{value:.1e}", limits[name]) for name, value in worst.items()]
    yield from table(("quantity", "largest relative difference", "required"), *lines)


def emva(work: Path) -> Iterator[str]:
    """Fitted parameters of real frames."""
    with PatchStore(work / "data" / EMVA / "patches.h5") as store:
        nlf = baselines(store, {})["nlf"]
        assert isinstance(nlf, NoiseLevelFunction)
        span = float(store.table["white"][0] - store.table["black"][0, 0])
    gain = float(nlf.log_beta1.exp()) * span
    dark = float(nlf.log_beta2.exp().sqrt()) * span
    yield f"\n## {EMVA}: what `nlf` finds"
    yield from table(
        ("maximum likelihood of `nlf`", "fitted", "measured (EMVA)", "difference"),
        ("conversion gain K, DN/e⁻", f"{gain:.4f}", "0.2801", f"{gain / 0.2801 - 1:+.2%}"),
        ("dark σ, DN", f"{dark:.4f}", "3.0740", f"{dark / 3.074 - 1:+.2%}"),
    )


def poisson_gaussian(work: Path) -> Iterator[str]:
    """A camera whose density is known: where in the light the models fall short of it."""
    yield f"\n## {KNOWN}: against the truth, by light"
    with PatchStore(work / "data" / KNOWN / "patches.h5") as store:
        models = {"nlf": baselines(store, {})["nlf"]}
        for run in sorted((work / "cells" / KNOWN).glob("*/run")):
            models.setdefault(run.parent.name, load(run))
        yield from light(store, models["nlf"])
        yield from variances(store, models)


@torch.no_grad()
def light(store: PatchStore, nlf: NoiseModel) -> Iterator[str]:
    """Gap of nlf to the oracle by photo-electrons, pixel by pixel."""
    assert isinstance(nlf, NoiseLevelFunction)
    physics = load_camera("PG-12")
    span = physics.white_dn - physics.black_dn
    sums = np.zeros((len(ELECTRONS) - 1, 4))
    for batch in store.batches("test"):
        cond = Conditions(batch.clean, batch.iso, batch.camera).resolve(nlf.cameras)
        variance = nlf.variance(cond).double().numpy()
        noise, clean = batch.noise.double().numpy(), batch.clean.double().numpy()
        gaussian = -0.5 * (noise**2 / variance + np.log(2 * np.pi * variance))
        for iso in store.isos:
            at, chosen = physics.at(iso), batch.iso.numpy() == iso
            signal = np.maximum(clean[chosen] * span, 0)
            code = np.clip(np.rint(physics.black_dn + (clean[chosen] + noise[chosen]) * span), 0, physics.white_dn)
            truth = oracle_log_prob(
                code,
                signal,
                gain=at.gain_dn_per_e,
                read_sigma=at.read_scale_dn,
                black=physics.black_dn,
                white=physics.white_dn,
            ) + np.log(span)
            cell = np.digitize(signal / at.gain_dn_per_e, ELECTRONS[1:-1])
            gap = truth - gaussian[chosen]
            for part, values in enumerate((np.ones_like(gap), gap, gap**2)):
                sums[:, part] += np.bincount(cell.ravel(), values.ravel(), len(sums))
    yield "\nGap of the fitted `nlf` to the oracle by light; the read noise of 3 DN is 12, 3, 0.75 e⁻ at"
    yield "ISO 100, 400, 1600. Required is 0.002 nats/dim from 100 e⁻ on. In the dark the Gaussian shape itself"
    yield "is wrong:"
    lines: list[tuple[object, ...]] = [("photo-electrons", "pixels", "gap, nats/dim")]
    for low, high, (count, gap, square, _) in zip(ELECTRONS, ELECTRONS[1:], sums, strict=False):
        if count:
            error = np.sqrt(square / count - (gap / count) ** 2) / np.sqrt(count)
            lines.append((f"{low:g} to {high:g}", f"{count:,.0f}", f"{gap / count:+.5f} ± {error:.5f}"))
    yield from table(*lines)


@torch.no_grad()
def variances(store: PatchStore, models: dict[str, NoiseModel], draws: int = 8) -> Iterator[str]:
    """Sampled over true variance per intensity bin, at temperature 1."""
    physics = load_camera("PG-12")
    span = physics.white_dn - physics.black_dn
    edges = np.linspace(0, 1, 17) ** 2
    generator = torch.Generator().manual_seed(0)
    names = tuple(name for name in ("physics_flow", "noise_flow", "nlf") if name in models)
    worst: dict[str, list[tuple[float, str]]] = {name: [] for name in names}
    for iso in store.isos:
        at = physics.at(iso)
        count, truth = np.zeros(16), np.zeros(16)
        sampled = {name: np.zeros(16) for name in names}
        for batch in store.batches("test"):
            chosen = batch.iso == iso
            clean = batch.clean[chosen]
            if not len(clean):
                continue
            cell = np.digitize(clean.numpy().ravel(), edges[1:-1])
            expected = (at.gain_dn_per_e * clean.numpy() * span + at.read_scale_dn**2 + 1 / 12) / span**2
            count += np.bincount(cell, minlength=16)
            truth += np.bincount(cell, expected.ravel(), 16)
            cond = Conditions(clean, iso, batch.camera[chosen])
            for name in names:
                for _ in range(draws):
                    noise = models[name].sample(cond, generator).double().numpy()
                    sampled[name] += np.bincount(cell, (noise**2).ravel(), 16) / draws
        for name in names:
            for index in np.flatnonzero(count >= 10_000):
                ratio = sampled[name][index] / truth[index]
                worst[name].append((ratio, f"ISO {iso:g}, signal {edges[index]:.3f} to {edges[index + 1]:.3f}"))
    yield "\nSamples at temperature 1 over the true variance, in intensity bins (16 an ISO, even in the root of the"
    yield f"signal) with at least 10,000 held-out pixels, {draws} draws each; required within 2 %:"
    lines: list[tuple[object, ...]] = [("model", "bins", "lowest", "highest", "bins within 2 %")]
    for name in (name for name in names if worst[name]):
        (low, where_low), (high, where_high) = min(worst[name]), max(worst[name])
        within = sum(abs(ratio - 1) <= 0.02 for ratio, _ in worst[name])
        ends = (f"{low:.4f} ({where_low})", f"{high:.4f} ({where_high})")
        lines.append((name, len(worst[name]), *ends, within))
    yield from table(*lines)


if __name__ == "__main__":
    main()

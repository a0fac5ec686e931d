"""Make docs/results.md: every figure in it, by the benchmark and data that it names.

python -m tools.results docs/results.md --data ../shared/data --work results --jobs 2
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch

from noiseflow.cli.progress import shown
from noiseflow.core.version import __version__
from noiseflow.evaluate.baselines import baselines
from noiseflow.evaluate.benchmark.page import markdown
from noiseflow.evaluate.benchmark.run_benchmark import benchmark
from noiseflow.evaluate.benchmark.spec import DataSpec, read_spec
from noiseflow.fit.batches import conditions_of
from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel, import_published, load
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.oracle.poisson_gaussian import oracle_log_prob
from noiseflow.patches import PatchStore
from noiseflow.simulate import load_camera
from tools.studies.sampled import ROWS, moments, real_rows, simulated_rows

PUBLISHED = "published/noise_flow_weights.npz"
GOLDEN = "published/noise_flow_golden.npz"
ELECTRONS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, np.inf)
EMVA, KNOWN = "EMVA 1288 set 001", "PG-12"
"""Data with figures of their own, where the spec has them."""
EMVA_FOLDER = "emva1288/EMVA1288_ReferenceSet_001_CCD_12Bit"


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
    # Paths of real data in the spec are relative to the folder of real data.
    wanted = dataclasses.replace(read_spec(spec), folder=data)
    with shown("benchmark", "cells") as progress:
        rows = benchmark(wanted, work, jobs=jobs, progress=progress)
    lines = list(header())
    if (data / GOLDEN).is_file():
        lines += parity(data)
    lines += ["", "## The benchmark", "", "```", f"noiseflow benchmark {spec.name} --out results", "```", ""]
    lines += [markdown(wanted, rows)]
    for each in wanted.data:
        if each.name == EMVA:
            lines += emva(work, data)
        elif each.camera:
            lines += simulated(work, each)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    click.echo(out)


def header() -> Iterator[str]:
    """What the page is and how it is made."""
    yield "# Results"
    yield ""
    yield f"Made by `python -m tools.results docs/results.md` with noiseflow {__version__}, torch {torch.__version__}."
    yield "NLL uses the natural logarithm. *nats/dim* refers to the normalised signal; *nats/pixel in DN* adds"
    yield "log(white − black). [Ingest and reading](results-data.md) has the speed of ingest and of reading patches."
    yield "The seconds and speeds below were taken beside other work; [Performance](performance.md) has those of an"
    yield "idle machine."


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
    yield "`noiseflow import` of the published weights, compared with reference outputs of the authors' TensorFlow"
    yield "code, in 13 cases of camera and ISO: largest difference divided by the largest value, float32."
    limits = {"z": "1e-4", "log-det": "1e-4", "NLL": "1e-4", "sample": "1e-5", "round trip": "1e-5"}
    lines = [(name, f"{value:.1e}", limits[name]) for name, value in worst.items()]
    yield from table(("quantity", "largest relative difference", "required"), *lines)


def emva(work: Path, data: Path) -> Iterator[str]:
    """Fitted parameters of real frames, and row noise in the dark."""
    with PatchStore(work / "data" / EMVA / "patches.h5") as store:
        models = fitted(work, EMVA, store)
        nlf = models["nlf"]
        assert isinstance(nlf, NoiseLevelFunction)
        span = float(store.table["white"][0] - store.table["black"][0, 0])
        apart = list(by_burst(store, models))
    gain = float(nlf.log_beta1.exp()) * span
    dark = float(nlf.log_beta2.exp().sqrt()) * span
    yield f"\n## {EMVA}: gain, read noise and rows"
    yield from table(
        ("maximum likelihood of `nlf`", "fitted", "by `calibrate`", "difference"),
        ("conversion gain K, DN/e⁻", f"{gain:.4f}", "0.2801", f"{gain / 0.2801 - 1:+.2%}"),
        ("dark σ, DN", f"{dark:.4f}", "3.0732", f"{dark / 3.0732 - 1:+.2%}"),
    )
    yield from apart
    yield "\nVariance of the means of dark rows divided by that of independent pixels, in the differences of the set's"
    yield f"50 pairs of dark frames and in {ROWS:,} sampled rows, at widths in sensor pixels:"
    yield from table(*real_rows(data / EMVA_FOLDER, models))


@torch.no_grad()
def by_burst(store: PatchStore, models: dict[str, NoiseModel]) -> Iterator[str]:
    """Scores in pairs and in stacks, and how far the noise is correlated with the signal there."""
    rows = store.indices("test")
    short = store.table["clean_variance"][rows] > 0.1
    dark = np.array([float(store.read(rows[[at]]).clean.mean()) < 0.01 for at in range(len(rows))])
    yield "\nIn a pair, the clean signal of a frame is the other frame: noise and signal both contain its noise."
    yield "Models are therefore fitted and scored at a signal from all frames and neighbouring pixels"
    yield "([Concepts](concepts.md)). How far the noise is still correlated with it:"
    lines = [
        ("held-out patches of", "patches", "correlation of noise and signal", *(f"{name}, nats/dim" for name in models))
    ]
    for kind, pairs in (("pairs", short), ("stacks of 50", ~short)):
        for light, chosen in (("dark", pairs & dark), ("light", pairs & ~dark)):
            some = rows[chosen][:: max(1, int(chosen.sum()) // 256)]
            batch = store.read(some)
            cond = conditions_of(batch)
            signal = cond.clean - cond.clean.mean((2, 3), keepdim=True)
            shared = (batch.noise * signal).sum() / (batch.noise.square().sum() * signal.square().sum()).sqrt()
            nll = [
                -float(model.log_prob(batch.noise, cond).mean()) / batch.noise[0].numel() for model in models.values()
            ]
            lines.append((f"{kind}, {light}", len(some), f"{float(shared):.2f}", *(f"{value:.4f}" for value in nll)))
    yield from table(*lines)


def simulated(work: Path, data: DataSpec) -> Iterator[str]:
    """A camera whose density is known: where in the light nlf falls short of it, and what the models sample."""
    assert data.camera is not None
    yield f"\n## {data.name}: against the truth"
    with PatchStore(work / "data" / data.name / "patches.h5") as store:
        models = fitted(work, data.name, store)
        if data.camera == KNOWN:
            yield from light(store, models["nlf"])
        yield "\nMoments of samples at temperature 1 divided by the true ones, in bins of intensity (16 per ISO,"
        yield "uniform in the root of the signal) with at least 10,000 held-out pixels, from 4 draws each; the kurtosis"
        yield "is then known to 1 or 2 %. Models that were fitted to codes have noise before rounding, and so has"
        yield "their truth:"
        yield from table(*moments(store, data.camera, models))
        if any(load_camera(data.camera).at(iso).row_sigma_dn for iso in store.isos):
            yield f"\nVariance of the means of {ROWS:,} sampled dark rows divided by the camera's, known to 1.6 %, by"
            yield "width in sensor pixels:"
            yield from table(*simulated_rows(data.camera, models, (store.isos[0], store.isos[-1])))


def fitted(work: Path, data: str, store: PatchStore) -> dict[str, NoiseModel]:
    """Nlf, and the models of the cells on these data, by name."""
    models = {"nlf": baselines(store, {})["nlf"]}
    for run in sorted((work / "cells" / data).glob("*/run")):
        models.setdefault(run.parent.name, load(run))
    return models


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
    yield "\nNLL of the fitted `nlf` minus that of the oracle, by light; the read noise of 3 DN is 12, 3, 0.75 e⁻ at"
    yield "ISO 100, 400, 1600. The requirement is 0.002 nats/dim from 100 e⁻ on. In the dark, the Gaussian shape itself"
    yield "is wrong:"
    lines: list[tuple[object, ...]] = [("photo-electrons", "pixels", "gap, nats/dim")]
    for low, high, (count, gap, square, _) in zip(ELECTRONS, ELECTRONS[1:], sums, strict=False):
        if count:
            error = np.sqrt(square / count - (gap / count) ** 2) / np.sqrt(count)
            lines.append((f"{low:g} to {high:g}", f"{count:,.0f}", f"{gap / count:+.5f} ± {error:.5f}"))
    yield from table(*lines)


if __name__ == "__main__":
    main()

"""The page of denoisers: tables, verdict and a strip of pictures."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from noiseflow.core.version import __version__
from noiseflow.models.io.run_folder import SPEC, read_spec
from noiseflow.raw import MONO, unpack
from noiseflow.simulate.scenes import WHITE_BALANCE
from tools.benching.page import between
from tools.denoising.cameras import HELD_OUT, Planes, Sensor, Simulated
from tools.denoising.moments import moments
from tools.denoising.sources import TRUE, run_folder
from tools.denoising.spec import CameraSpec, Spec
from tools.denoising.training import held_out, scores

__all__ = ["AIM_DB", "BURSTS", "differences", "spread", "standard_error", "table", "write_page"]

AIM_DB = 0.1
BURSTS = "bursts"
"""Mark of the section that `tools.denoising.bursts` makes."""
TITLES = {"dncnn": "DnCNN", "nafnet": "NAFNet"}
SIDE = 56
"""Of the pictures in the strip, pixels of a plane."""

Records = Mapping[tuple[str, str, int], Mapping[str, Any]]
"""By network, noise and seed."""


def write_page(
    out: Path,
    spec: Spec,
    cameras: Sequence[Sensor],
    cells: Sequence[Mapping[str, Any]],
    command: str,
) -> None:
    """Write the page, and its picture to ``images/`` beside it."""
    pictures = out.parent / "images"
    pictures.mkdir(parents=True, exist_ok=True)
    strip = pictures / f"{out.stem}.png"
    of_camera = [
        {(cell["network"], cell["noise"], cell["seed"]): cell for cell in cells if cell["camera"] == camera.name}
        for camera in spec.cameras
    ]
    draw_strip(strip, spec, cameras)
    lines = list(header(spec, strip, command))
    for camera, sensor, records in zip(spec.cameras, cameras, of_camera, strict=True):
        lines += section(spec, camera, sensor, records)
    lines += ["", f"{len(cells)} trainings, on one thread each. torch {torch.__version__}."]
    limits = ["limits.md"] if all(isinstance(each, Simulated) for each in cameras) else ["limits.md", "limits_ccd.md"]
    said = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in limits]
    # The table of bursts is made by a command of its own.
    bursts = between(out, BURSTS)
    out.write_text("\n".join(lines) + "\n\n" + bursts + "\n" + "".join(said), encoding="utf-8")


def header(spec: Spec, strip: Path, command: str) -> Iterator[str]:
    """What is done, and the pictures."""
    training = spec.training
    text = f"""# Denoisers trained on each model's noise

Made by `{command}` with noiseflow {__version__}.

One measure of a noise model is how well a denoiser trained on its samples works on real noise. Noise drawn
from each model is added to the same clean pictures, the same denoiser is trained on each, and all are
scored on held-out pictures with *true* noise. The design is paired: for one seed, all trainings have the
same starting weights and the same crops in the same order, {training.steps} steps of {training.batch} crops
of {training.crop}×{training.crop} pixels of a plane. The input of a denoiser is the noisy planes, scaled to
white at 1, without ISO or noise level; the loss is the mean squared error. The held-out pictures are
{" and ".join(f"*{name}*" for name in HELD_OUT)}.

![Clean, noisy, and denoised by a denoiser trained on each noise](images/{strip.name})

*Part of a held-out picture for each camera: clean, with true noise, and denoised by {TITLES["dncnn"]} trained on each
noise (first seed). PSNR is of the whole picture.*"""
    yield from text.splitlines()


def section(spec: Spec, camera: CameraSpec, sensor: Sensor, records: Records) -> Iterator[str]:
    """Tables of one camera."""
    yield ""
    yield f"## {camera.name}"
    yield from drawn(spec, sensor)
    before = [scores(noisy, clean) for clean, noisy, _ in held_out(sensor)]
    for network in camera.networks:
        yield from ["", f"### {TITLES.get(network, network)}", ""]
        yield from table(spec, camera, network, records, before)
        yield from verdict(spec, camera, network, records)


def drawn(spec: Spec, sensor: Sensor) -> Iterator[str]:
    """A Markdown table of the moments of each noise."""
    iso = f" at ISO {max(sensor.isos):g}" if len(sensor.isos) > 1 else ""
    yield ""
    yield f"The noise drawn on the training pictures{iso}, in DN:"
    yield ""
    yield "| noise | σ of the darkest tenth | excess kurtosis of it | σ of the brightest hundredth | σ of row means |"
    yield "|---|---|---|---|---|"
    for noise in spec.noises:
        of = moments(sensor, noise)
        name = noise if noise == TRUE else f"`{noise}`"
        yield f"| {name} | {of.dark_dn:.2f} | {of.kurtosis:.2f} | {of.bright_dn:.2f} | {of.row_dn:.3f} |"
    for noise, options in options_of(sensor, spec.noises).items():
        yield f"\n`{noise}` has {', '.join(f'{name} {value}' for name, value in options.items())}."


def options_of(sensor: Sensor, noises: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Options of the fitted models that have some."""
    folders = {noise: run_folder(sensor, noise) / SPEC for noise in noises}
    specs = {noise: read_spec(path) for noise, path in folders.items() if path.exists()}
    return {noise: each.options for noise, each in specs.items() if each.options}


def differences(spec: Spec, camera: CameraSpec, network: str, noise: str, records: Records) -> NDArray[np.float64]:
    """PSNR in dB less that of the training on true noise with the same seed, one a seed that both have."""
    seeds = min(spec.seeds_of(camera, noise), spec.seeds_of(camera, TRUE), key=len)
    pairs = [(records[network, noise, seed], records[network, TRUE, seed]) for seed in seeds]
    return np.array([one["psnr"] - other["psnr"] for one, other in pairs])


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean; NaN for one value."""
    return float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else math.nan


def spread(mean: float, deviation: float, digits: int, sign: str = "") -> str:
    """Mean ± deviation, the mean alone where that is NaN."""
    return f"{mean:{sign}.{digits}f}" + ("" if math.isnan(deviation) else f" ± {deviation:.{digits}f}")


def table(
    spec: Spec, camera: CameraSpec, network: str, records: Records, before: Sequence[Mapping[str, float]] = ()
) -> Iterator[str]:
    """A Markdown table, a row for each noise."""
    yield "| trained with noise of | seeds | PSNR, dB | SSIM | against true noise, dB |"
    yield "|---|---|---|---|---|"
    if before:
        psnr, ssim = (float(np.mean([each[name] for each in before])) for name in ("psnr", "ssim"))
        yield f"| (not denoised) | | {psnr:.2f} | {ssim:.3f} | |"
    for noise in spec.noises:
        runs = [records[network, noise, seed] for seed in spec.seeds_of(camera, noise)]
        psnr, ssim = (np.array([run[name] for run in runs]) for name in ("psnr", "ssim"))
        of_seeds = [
            spread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan, digits)
            for values, digits in ((psnr, 3), (ssim, 4))
        ]
        every = differences(spec, camera, network, noise, records)
        gap = "" if noise == TRUE else spread(float(every.mean()), standard_error(every), 3, "+")
        yield f"| {noise if noise == TRUE else f'`{noise}`'} | {len(runs)} | {' | '.join(of_seeds)} | {gap} |"


def verdict(
    spec: Spec, camera: CameraSpec, network: str, records: Records, noise: str = "physics_flow"
) -> Iterator[str]:
    """Whether the aim is reached: by the 95 % interval of Student's t over the paired differences."""
    if noise not in spec.noises:
        return
    every = differences(spec, camera, network, noise, records)
    gap, seeds = float(every.mean()), len(every)
    aim = f"The aim, `{noise}` within {AIM_DB} dB of true noise, is"
    yield ""
    if seeds < 2:
        yield f"{aim} not decided by one seed: {gap:+.3f} dB."
        return
    half = float(stats.t.ppf(0.975, seeds - 1)) * standard_error(every)
    if gap - half >= -AIM_DB:
        word = "reached"
    elif gap + half < -AIM_DB:
        word = "missed"
    else:
        word = "not decided"
    yield (
        f"{aim} {word}: {gap:+.3f} dB, with {gap - half:+.3f} to {gap + half:+.3f} dB as the 95 % interval "
        f"of Student's t over {seeds} seeds."
    )


def draw_strip(path: Path, spec: Spec, cameras: Sequence[Sensor], network: str = "dncnn") -> None:
    """A row for each camera: clean, noisy, and denoised after a training on each noise."""
    columns = 2 + len(spec.noises)
    figure = Figure(figsize=(1.45 * columns, 1.72 * len(cameras)), layout="constrained")
    axes = figure.subplots(len(cameras), columns, squeeze=False)
    for row, camera, sensor in zip(axes, spec.cameras, cameras, strict=True):
        pictures = list(held_out(sensor))
        # The noisiest ISO, and of its pictures the one with the most detail.
        iso = max(sensor.isos)
        chosen = max(
            (index for index, each in enumerate(pictures) if each[2] == iso),
            key=lambda index: float(busiest(pictures[index][0])[1]),
        )
        clean, noisy, _ = pictures[chosen]
        corner, _ = busiest(clean)
        shown = [("clean", clean), ("noisy", noisy)]
        for noise in spec.noises:
            file = sensor.folder / "cells" / f"{network}-{noise.replace(' ', '_')}-0.npy"
            shown.append((noise, np.load(file, allow_pickle=False)[chosen].astype(np.float32)))
        label = camera.name.split(",")[0] + (f", ISO {iso:g}" if len(sensor.isos) > 1 else "")
        row[0].set_ylabel(textwrap.fill(label, 20), fontsize=8)
        top = float(np.quantile(clean[(slice(None), *corner)], 0.995))
        for ax, (name, planes) in zip(row, shown, strict=True):
            ax.imshow(
                look(planes[(slice(None), *corner)], sensor, top), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
            )
            value = "" if name == "clean" else f"\n{scores(planes, clean)['psnr']:.2f} dB"
            ax.set_title(name + value, fontsize=8)
            ax.set_xticks([])
            ax.set_yticks([])
    figure.savefig(path, dpi=130)


def busiest(clean: Planes) -> tuple[tuple[slice, slice], float]:
    """The square with the largest spread of its second plane relative to its mean, and that spread."""
    green = clean[1].astype(np.float64)
    side = min(SIDE, *green.shape)
    best: tuple[tuple[slice, slice], float] = ((slice(0, side), slice(0, side)), -1.0)
    for y in range(0, green.shape[0] - side + 1, 8):
        for x in range(0, green.shape[1] - side + 1, 8):
            part = np.sqrt(green[y : y + side, x : x + side])
            if part.std() > best[1]:
                best = ((slice(y, y + side), slice(x, x + side)), float(part.std()))
    return best


def look(planes: Planes, sensor: Sensor, top: float) -> NDArray[np.float64]:
    """White-balanced planes, or a grey mosaic, with a display gamma of 2.2: a look, not a development."""
    if isinstance(sensor, Simulated):
        red, green1, green2, blue = planes.astype(np.float64)
        signal = np.stack([red / WHITE_BALANCE[0], (green1 + green2) / 2, blue / WHITE_BALANCE[2]], -1)
    else:
        signal = unpack(planes, MONO).astype(np.float64)
    return np.clip(signal / top, 0, 1) ** (1 / 2.2)

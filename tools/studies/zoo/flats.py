"""Whole frames of an EMVA set beside a model's: row means and rare values in differences of two frames.

A difference of two frames of one light holds no fixed pattern and needs no clean signal.  The model's two frames are
drawn for the set's own pattern, dark + light · gain, which the means of its two stacks give; they are rounded and
clipped as the camera's are.  So neither side has the noise of a frame in its clean signal.

python -m tools.studies.zoo.flats run/ ../shared/data/emva1288/EMVA1288_ReferenceSet_002_CMOS_08Bit_left640
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel, load
from noiseflow.raw.formats.emva import EmvaFolder, Series, read_emva, read_frame
from tools.benching.page import put_between

__all__ = ["WIDTHS", "Bin", "compared", "lines"]

Array = NDArray[np.float64]

WIDTHS = (32, 128, 640)
"""Columns of a row mean."""

EDGES = (0.5, 0.53, 0.75)
"""Ends of the bins of bright pairs, as parts of full scale; stacks have bins of their own."""

TAIL = 4.0
"""Rare values lie beyond so many standard deviations of the camera's differences."""

CLIPPED = 1e-3
"""Most clipped pixels of a frame, as a fraction."""


@dataclass(frozen=True)
class Bin:
    """One bin of light.

    Parameters
    ----------
    name : str
        Range of the light in DN above black.
    pairs : int
        Differences of two frames.
    ratio : mapping of int to tuple of float
        Row means by width in columns: variance relative to independent pixels, in samples and in the camera, and the
        standard error of their quotient over pairs.
    variance : tuple of float
        Sampled over real variance, and its standard error.
    tail : tuple of float
        Values beyond `TAIL` in samples and in the camera, ppm, and the standard error of their quotient.
    """

    name: str
    pairs: int
    ratio: dict[int, tuple[float, float, float]]
    variance: tuple[float, float]
    tail: tuple[float, float, float]


def _frames(folder: EmvaFolder, series: Series) -> list[Array]:
    return [read_frame(folder, series, file).mosaic.astype(np.float64) for file in series.files]


def _mean(folder: EmvaFolder, kind: str) -> Array:
    (stack,) = (each for each in folder.series if each.kind == kind and len(each.files) > 2)
    mean: Array = np.mean(_frames(folder, stack), 0)
    return mean


def _level(noise: Array) -> Array:
    """The noise without the mean of each plane, which an ingest takes out as drift of the black level."""
    found = noise[: noise.shape[0] // 2 * 2, : noise.shape[1] // 2 * 2].copy()
    for plane in (found[top::2, left::2] for top in (0, 1) for left in (0, 1)):
        plane -= plane.mean()
    return found


def _figures(noise: Array) -> tuple[Array, float]:
    """Variances of row means times their width, by `WIDTHS`, and the variance of the pixels, DN²."""
    found = []
    for width in WIDTHS:
        crops = noise[:, : noise.shape[1] // width * width].reshape(noise.shape[0], -1, width)
        found.append(float(crops.mean(2).var(0).mean()) * width)
    return np.array(found), float(noise.var())


@torch.no_grad()
def _drawn(model: NoiseModel, clean: Array, folder: EmvaFolder, seed: int) -> Array:
    """Two frames of the model for a clean signal in DN, as codes, their difference over √2."""
    white, black = 2.0**folder.bits - 1, folder.black
    height, width = (side // 2 * 2 for side in clean.shape)
    signal = torch.from_numpy((clean[:height, :width] - black) / (white - black)).float()
    planes = signal.reshape(height // 2, 2, width // 2, 2).permute(1, 3, 0, 2).reshape(1, 4, height // 2, width // 2)
    generator = torch.Generator().manual_seed(seed)
    codes = []
    for _ in range(2):
        noise = model.sample(Conditions(planes.contiguous(), 100.0, 0).resolve(model.cameras), generator)
        values = (planes + noise).double().reshape(2, 2, height // 2, width // 2).permute(2, 0, 3, 1)
        codes.append((values.reshape(height, width) * (white - black) + black).round().clamp(0, white).numpy())
    difference: Array = (codes[0] - codes[1]) / np.sqrt(2)
    return difference


def _pairs(folder: EmvaFolder) -> Iterator[tuple[str, Array, Array, Array]]:
    """Kind and frames of each pair, of stacks too, with its clean signal."""
    dark, bright = _mean(folder, "d"), _mean(folder, "b")
    gain = bright - dark
    white = 2.0**folder.bits - 1
    for series in folder.series:
        frames = _frames(folder, series)
        stack = "stack" if len(frames) > 2 else "pairs"
        if max(float((frame >= white).mean()) for frame in frames) > CLIPPED:
            continue
        for one, two in zip(frames[::2], frames[1::2], strict=False):
            light = 0.0 if series.kind == "d" else float(((one + two) / 2 - dark).mean() / gain.mean())
            clean = dark + light * gain
            # The black level drifts.
            clean += ((one + two) / 2 - clean).mean()
            yield f"{'dark' if series.kind == 'd' else 'light'} {stack}", one, two, clean


def compared(path: Path, model: NoiseModel, most: int | None = None) -> list[Bin]:
    """Compare a model with the frames of an EMVA set, by light.

    Parameters
    ----------
    path : Path
        Folder of the set.
    model : NoiseModel
        Model fitted to it.
    most : int, optional
        Largest number of pairs in a bin.
    """
    folder = read_emva(path)
    seen: dict[str, list[tuple[float, Array, Array]]] = {}
    full = 2.0**folder.bits - 1 - folder.black
    for number, (kind, one, two, clean) in enumerate(_pairs(folder)):
        light = float(clean.mean()) - folder.black
        key = kind if kind != "light pairs" else f"{kind} {int(np.searchsorted(EDGES, light / full))}"
        if most is not None and len(seen.get(key, ())) >= most:
            continue
        real, made = _level((one - two) / np.sqrt(2)), _level(_drawn(model, clean, folder, number))
        seen.setdefault(key, []).append((light, real, made))
    return [_bin(key, each) for key, each in sorted(seen.items())]


def _bin(key: str, pairs: Sequence[tuple[float, Array, Array]]) -> Bin:
    lights = [light for light, _, _ in pairs]
    name = key if key.startswith("dark") else f"{min(lights):.0f}–{max(lights):.0f}"
    name = f"{name}, stack" if key == "light stack" else name
    rows, square = {}, {}
    for side, index in (("real", 1), ("made", 2)):
        found = [_figures(pair[index]) for pair in pairs]
        rows[side], square[side] = np.array([each[0] for each in found]), np.array([each[1] for each in found])
    limit = TAIL * np.sqrt(square["real"].mean())
    beyond = {
        side: np.array([(np.abs(pair[index]) > limit).mean() for pair in pairs])
        for side, index in (("real", 1), ("made", 2))
    }
    ratio = {}
    for place, width in enumerate(WIDTHS):
        real, made = (rows[side][:, place].mean() / square[side].mean() for side in ("real", "made"))
        errors = [
            _relative(rows[side][:, place] - value * square[side], rows[side][:, place])
            for side, value in (("real", real), ("made", made))
        ]
        ratio[width] = float(made), float(real), float(np.hypot(*errors) * made / real)
    over = float(square["made"].mean() / square["real"].mean())
    error = over * np.hypot(*(_relative(square[side] - square[side].mean(), square[side]) for side in square))
    tail = {side: 1e6 * float(beyond[side].mean()) for side in beyond}
    quotient = tail["made"] / tail["real"] if tail["real"] else np.nan
    wrong = quotient * np.hypot(*(_relative(beyond[side] - beyond[side].mean(), beyond[side]) for side in beyond))
    return Bin(name, len(pairs), ratio, (over, float(error)), (tail["made"], tail["real"], float(wrong)))


def _relative(departures: Array, values: Array) -> float:
    """Standard error of a mean, relative to it."""
    if len(values) < 2 or not values.mean():
        return float("nan")
    return float(departures.std(ddof=1) / np.sqrt(len(values)) / values.mean())


def lines(bins: Sequence[Bin]) -> Iterator[str]:
    """The bins as a table in Markdown."""
    head = [f"rows, {width}" for width in WIDTHS]
    yield "| light, DN | pairs | " + " | ".join(head) + " | variance | beyond 4 σ, ppm |"
    yield "|---|---:|" + "---:|" * (len(WIDTHS) + 2)
    for each in bins:
        cells = [
            f"{made:.3f} / {real:.3f} = {made / real:.3f} ± {error:.3f}" for made, real, error in each.ratio.values()
        ]
        made, real, error = each.tail
        cells += [f"{each.variance[0]:.3f} ± {each.variance[1]:.3f}"]
        cells += [f"{made:.0f} / {real:.0f} = {made / real if real else np.nan:.2f} ± {error:.2f}"]
        yield f"| {each.name} | {each.pairs} | " + " | ".join(cells) + " |"


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--most", type=click.IntRange(min=2), help="Largest number of pairs of a kind and light; all by default.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
def main(run: Path, folder: Path, most: int | None, page: Path | None) -> None:
    """Compare the model of RUN with the frames of the EMVA set in FOLDER, by light."""
    torch.set_num_threads(1)
    text = "\n".join(lines(compared(folder, load(run), most)))
    click.echo(text)
    if page is not None:
        put_between(page, "flats", text)


if __name__ == "__main__":
    main()

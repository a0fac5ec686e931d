"""Draw the README's picture from a demo folder: clean, real and sampled at one place.

python -m tools.site.picture demo docs/images/demo.png
"""

from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from noiseflow.augment import sample_frame
from noiseflow.models import load
from noiseflow.patches import PatchStore
from noiseflow.patches.sources import collect
from noiseflow.raw import RawImage
from noiseflow.simulate.scenes import WHITE_BALANCE

SIDE = 96


@click.command()
@click.argument("demo", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--iso", type=float, default=1600, show_default=True)
def main(demo: Path, out: Path, iso: float) -> None:
    """Draw the picture of DEMO, a folder made by `noiseflow demo`, to the PNG file OUT."""
    with PatchStore(demo / "patches.h5") as store:
        held_out = {store.scenes[row["scene"]] for row in store.table[store.indices("test")]}
    scenes = [scene for scene in collect(demo / "raws").scenes if scene.name in held_out]
    clean, real = max(
        ((scene.clean.read(), scene.frames[0].read()) for scene in scenes if scene.clean and "wedge" not in scene.name),
        key=lambda pair: (pair[0].iso == iso, pair[0].normalised().std()),
    )
    sampled = sample_frame(load(demo / "run"), clean, seed=1).signal
    signals = [clean.normalised(), real.normalised(), sampled.astype(np.float64)]
    span = real.white - real.black[1]
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.subplots(2, 3)
    corner = _busiest(signals[0])
    for ax, signal, title in zip(axes[0], signals, ("clean", "real", "sampled"), strict=True):
        ax.imshow(_preview(signal, corner, signals[0].max()))
        ax.set_title(title)
    axes[1, 0].axis("off")
    axes[1, 0].text(0, 0.5, _caption(clean), va="center", fontsize=10)
    noises = [(signal - signals[0])[1][corner] * span for signal in signals[1:]]
    limit = float(np.quantile(np.abs(noises), 0.995))
    for ax, noise, title in zip(axes[1, 1:], noises, ("real noise", "sampled noise"), strict=True):
        shown = ax.imshow(noise, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set_title(title)
    figure.colorbar(shown, ax=axes[1], label="noise, DN (plane G1)", shrink=0.9)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    click.echo(out)


def _busiest(signal: NDArray[np.float64]) -> tuple[slice, slice]:
    """The square with the largest spread of green."""
    green = signal[1]
    corners = [(y, x) for y in range(0, green.shape[0] - SIDE + 1, 8) for x in range(0, green.shape[1] - SIDE + 1, 8)]
    y, x = max(corners, key=lambda at: green[at[0] : at[0] + SIDE, at[1] : at[1] + SIDE].std())
    return slice(y, y + SIDE), slice(x, x + SIDE)


def _preview(signal: NDArray[np.float64], corner: tuple[slice, slice], top: float) -> NDArray[np.float64]:
    """White-balanced planes with a display gamma of 2.2: a look, not a development."""
    red, green1, green2, blue = (plane[corner] for plane in signal)
    colours = np.stack([red / WHITE_BALANCE[0], (green1 + green2) / 2, blue / WHITE_BALANCE[2]], -1)
    return np.clip(colours / top, 0, 1) ** (1 / 2.2)


def _caption(image: RawImage) -> str:
    return f"{image.camera}, ISO {image.iso:g}\nheld-out scene, {SIDE}×{SIDE} pixels\nof each plane\ntemperature 1"


if __name__ == "__main__":
    main()

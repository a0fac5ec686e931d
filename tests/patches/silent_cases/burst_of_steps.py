"""A burst of known K and σ, written in any way, and what `nlf` finds of it.

The exposures are the same in all cases, so that they differ by nothing but how they are written:
no statistics stand between a case and the plain one.
"""

import math
from pathlib import Path

import numpy as np
from tiff_writer import write_dng_tags

from noiseflow.fit.batches import gather
from noiseflow.models.closed_form.variance_line import fit_line
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.raw.settings import RawSettings

GAIN, READ, BLACK, WHITE, FRAMES = 0.8, 3.0, 64, 1023, 4
SHAPE = (160, 240)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
SIGNAL = 600 * ((X / SHAPE[1] + np.sin(Y / 30) / 16 + 1 / 16) / 1.125) ** 2
EXIF = {34855: ("short", [400]), 33434: ("rational", [0.01])}
SAID = RawSettings(black=(float(BLACK),), white=float(WHITE), iso=400.0, exposure_s=0.01, camera="Maker One")


def exposures(black: np.ndarray | float = BLACK) -> list[np.ndarray]:
    """Codes of the burst: of equal electrons, whatever the black level of each pixel is."""
    rng = np.random.default_rng(5)
    frames = []
    for _ in range(FRAMES):
        dn = GAIN * rng.poisson(SIGNAL / GAIN) + rng.normal(0, READ, SHAPE)
        frames.append(np.clip(np.rint(dn + black), 0, None).astype(np.uint16))
    return frames


def gain_and_read(path: Path) -> tuple[float, float]:
    """K in DN/e⁻ and σ in DN, as `nlf` fits them; their standard errors are 0.53 and 0.85 % here."""
    with PatchStore(path) as store:
        span = float(store.table["white"][0] - np.mean(store.table["black"][0]))
        beta1, beta2 = fit_line(gather(store, np.arange(len(store))))
    return float(beta1) * span, math.sqrt(float(beta2)) * span


def measured(folder: Path, settings: RawSettings | None = None, pairing: str = "auto") -> tuple[float, float]:
    options = IngestOptions(patch_size=16, pairing=pairing, settings=settings)
    ingest([folder], folder.with_suffix(".h5"), options)
    return gain_and_read(folder.with_suffix(".h5"))


def dngs(folder: Path, cfa: str, order: str, black: np.ndarray | float, tags: dict[int, object], **how: object) -> None:
    for number, codes in enumerate(exposures(black)):
        known = {50717: ("long", [WHITE]), **tags}
        write_dng_tags(folder / f"{number}.dng", codes, cfa, known, order=order, exif=EXIF, **how)  # type: ignore[arg-type]

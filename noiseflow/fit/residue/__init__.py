"""What the noise of training patches shows that no sensor makes: signs of what was done to the codes, or of the light.

Each module has a function that yields a sentence for what it finds; `said_of_noise` asks them all.
"""

from collections.abc import Collection
from dataclasses import replace

from noiseflow.fit.batches import conditions_of, integer_codes
from noiseflow.fit.objective_choice import away_from_the_clip

# Modules, not functions: a function of the same name would hide its module.
from noiseflow.fit.residue import (
    gain_by_place,
    hot_pixel_filter,
    interleaved_gains,
    jumping_pixels,
    light_of_rows,
    lossy_blocks,
    relative_noise,
    small_shifts,
)
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.patches.store.patches import PatchBatch

__all__ = ["MOST_VALUES", "said_of_noise"]

MOST_VALUES = 1_000_000
"""Values that are looked at, which know a gain of a quarter of the frame to 0.3 %."""


def said_of_noise(
    batch: PatchBatch, statistics: NoiseStatistics, straight: Collection[str] = (), *, tails: bool = True
) -> dict[str, list[str]]:
    """Say what the noise of patches shows of a processing after the converter, or of the light.

    Parameters
    ----------
    batch : PatchBatch
        Training patches, best in whole bands of sensor rows.
    statistics : NoiseStatistics
        Of all training patches.
    straight : collection of str
        Cameras whose variance over the light is not known to bend.
    tails : bool
        Whether the model to be fitted knows tails, so that pixels that jump need no word.

    Returns
    -------
    dict of str to list of str
        Camera → one sentence for each finding.
    """
    few = _first(batch, max(1, MOST_VALUES // batch.noise[0].numel()))
    # Clipped noise has another mean and variance than that of its light, at whatever place.
    few = replace(few, observed=away_from_the_clip(few, conditions_of(few)).observed)
    found: dict[str, list[str]] = {}
    all_codes, levels = integer_codes(few)
    for noise in relative_noise.relative_noise(few, statistics):
        own = few.table["camera"] == statistics.cameras.index(noise.camera)
        codes = all_codes[own].float().numpy()
        # Without the part that is of the clean signal's error.
        span = (levels.white.double()[:, None] - levels.black.double())[own]
        residue = (few.noise[own].double() * span[:, :, None, None]).float().numpy()
        # What was quantised has other strange noise too.
        said = list(lossy_blocks.lossy_blocks(codes, noise.place[:, 1:], residue)) or [
            *gain_by_place.gain_by_place(noise, straight=noise.camera in straight),
            *interleaved_gains.interleaved_gains(noise),
            *light_of_rows.light_of_rows(noise),
            *small_shifts.small_shifts(noise),
            *(() if tails else jumping_pixels.jumping_pixels(noise)),
            *hot_pixel_filter.hot_pixel_filter(codes, float(few.table["white"][own].min())),
        ]
        found[noise.camera] = [f"camera {noise.camera!r}: {text}" for text in said]
    return found


def _first(batch: PatchBatch, count: int) -> PatchBatch:
    observed = None if batch.observed is None else batch.observed[:count]
    noise, clean, iso, camera = (each[:count] for each in (batch.noise, batch.clean, batch.iso, batch.camera))
    return PatchBatch(noise, clean, iso, camera, batch.table[:count], observed)

"""Numbers of the pairs of each kind of scene, and of a store, beside those that this version was released with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import burst_folder
from simulated_scenes import BLACK, WHITE, pairs, scene, shoot

from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.sources import Scene
from noiseflow.patches.store.dataset import PatchStream, View
from tools.checks.pinned import assert_pinned

HERE = Path(__file__).parent
SIZE = (128, 160)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]


def picture() -> np.ndarray:
    """A ramp with edges and texture, signal above black in DN."""
    return 60 + 5.0 * X + 40 * np.sin(Y / 5) * (Y > 64) + 300 * ((X // 40 + Y // 32) % 2)


def spoilt(mosaics: list[np.ndarray]) -> list[np.ndarray]:
    """Two hot pixels, one dead one, one that blinks, and one at the white level, in every frame of a body."""
    for number, mosaic in enumerate(mosaics):
        mosaic[20, 31] = mosaic[77, 100] = 2600
        mosaic[50, 60] = 3
        mosaic[90, 11] += 500 * (number % 2)
        mosaic[101, 121] = WHITE
    return mosaics


def burst() -> Scene:
    """Six frames whose light flickers; something moves in the third, and the fifth is a little aside."""
    lights = [gain * picture() for gain in (1.0, 1.004, 0.997, 1.0, 1.002, 0.999)]
    lights[2][40:72, 80:112] += 500
    lights[4] = np.roll(lights[4], 1, 1)
    return scene(spoilt(shoot(lights, 1, row_sigma=0.8)), "burst")


def with_twin() -> Scene:
    clean = np.rint(BLACK + 1.03 * picture() + 2).astype(np.uint16)
    return scene(spoilt(shoot([picture()] * 3, 2)), "gt", clean)


def flats() -> Scene:
    shading = 1 - 0.3 * ((Y - 60) ** 2 + (X - 80) ** 2) / 1e4
    response = 1 + 0.01 * np.random.default_rng(5).standard_normal(SIZE)
    return scene(spoilt(shoot([gain * 900 * shading * response for gain in (1.0, 1.01, 0.99, 1.0)], 3)), "flat")


SCENES = {
    "burst": burst,
    "gt": with_twin,
    "flat": flats,
    "dark": lambda: scene(spoilt(shoot([0 * picture()] * 5, 4, row_sigma=0.5)), "dark"),
    "noisy-pair": lambda: scene(spoilt(shoot([picture()] * 2, 6)), "noisy"),
}


@pytest.mark.parametrize("kind", list(SCENES))
def test_pairs(kind: str) -> None:
    """Facts of the scene, and of each pair the clean signal, its variance and what is masked."""
    reference, made = pairs(kind, SCENES[kind]())
    each = [
        {"number": pair.number, "clean": pair.clean, "variance": pair.clean_variance, "valid": masked_at(pair.valid)}
        for pair in made
    ]
    assert_pinned({"facts": reference.facts, "cautions": len(reference.cautions), "pairs": each}, HERE / f"{kind}.json")


def masked_at(valid: Any) -> Any:
    return None if valid is None else [int((~valid).sum()), np.flatnonzero(~valid)]


def test_store(tmp_path: Path) -> None:
    """Table and patches of two bursts, and what a data set draws of them."""
    for number in range(2):
        burst_folder(tmp_path / "raws" / str(number), frames=5, size=(64, 96), seed=number, drift=2.0 * number)
    options = IngestOptions(patch_size=8, patches_per_frame=6, seed=3, fractions=(0.6, 0.2, 0.2))
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", options, jobs=1)
    with PatchStore(tmp_path / "s.h5") as store:
        rows = np.arange(len(store))
        noisy, clean = store.codes(rows)
        batch = store.read(rows[::3])
        kept: dict[str, Any] = {name: store.table[name].astype(float) for name in store.table.dtype.names or ()}
        kept |= {"noisy": noisy, "clean": clean, "noise": batch.noise.numpy(), "signal": batch.clean.numpy()}
        kept |= {"patches": result.patches, "clipped": result.clipped, "masked": result.masked, "frames": result.frames}
        kept |= {"masks": masked_at(~store.masked(rows)) if store.has_masks else None}
        view = View(crop=5, turns=("none", "rows", "columns"))
        stream = PatchStream(store, batch=8, view=view, balance="camera", seed=5, epochs=range(1, 3))
        kept["epochs"] = [{name: values.numpy() for name, values in batch.items()} for batch in stream]
    assert_pinned(kept, HERE / "store.json")

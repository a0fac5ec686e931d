"""Quad Bayer and X-Trans frames through every pairing, into stores, turned and back."""

from pathlib import Path

import numpy as np
import pytest

from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.store.augmentation import TURNS, turned
from noiseflow.raw import RawImage, pack, plane_names, read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.patterns import CELLS, CFAS, cell_side, layout_of, shifted

BLACK, WHITE, GAIN, READ = 64.0, 4095.0, 0.8, 3.0
SOME = [shifted(CELLS["quad"], 1, 2), shifted(CELLS["xtrans"], 4, 5)]


def colours(cfa: str, shape: tuple[int, int]) -> np.ndarray:
    side = cell_side(cfa)
    cell = np.array(["RGB".index(letter) for letter in cfa]).reshape(side, side)
    return np.tile(cell, (shape[0] // side + 1, shape[1] // side + 1))[: shape[0], : shape[1]]


def signal(cfa: str, shape: tuple[int, int]) -> np.ndarray:
    """A smooth picture whose colours differ, DN above black."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return 300 + 100 * colours(cfa, shape) + 100 * np.sin(y / 40) * np.cos(x / 30)


def write(path: Path, mean: np.ndarray, cfa: str, rng: np.random.Generator | None, exposure_s: float = 0.01) -> None:
    noise = 0.0 if rng is None else rng.normal(size=mean.shape) * np.sqrt(GAIN * mean + READ**2)
    codes = np.rint(BLACK + mean + noise).astype(np.uint16)
    black = (BLACK,) * cell_side(cfa) ** 2
    path.parent.mkdir(exist_ok=True, parents=True)
    write_dng(path, RawImage(codes, cfa, black, WHITE, iso=100.0, exposure_s=exposure_s, make="M", model="One"))


def stored(folder: Path, out: Path, pairing: str) -> PatchStore:
    ingest([folder], out, IngestOptions(patch_size=8, pairing=pairing))
    return PatchStore(out)


@pytest.mark.parametrize("cfa", SOME)
@pytest.mark.parametrize("pairing", ["gt", "burst", "dark", "flat"])
def test_the_noise_of_each_plane_is_that_of_the_camera(pairing: str, cfa: str, tmp_path: Path) -> None:
    """About 160,000 values: a variance is known to 0.4 %, one of 1/36 of them to 2.1 %; five errors are allowed."""
    rng, shape = np.random.default_rng(3), (194, 290)
    for number in range(4):
        level = {"dark": 0.0, "flat": 200.0 + 100 * number}.get(pairing)
        mean = signal(cfa, shape) if level is None else np.full(shape, level)
        write(tmp_path / "in" / f"a_noisy_{number}.dng", mean, cfa, rng)
    if pairing == "gt":
        write(tmp_path / "in" / "a_gt.dng", signal(cfa, shape), cfa, None)
    with stored(tmp_path / "in", tmp_path / "a.h5", pairing) as store:
        assert store.layout == layout_of(cfa)
        assert {CFAS[index] for index in store.table["cfa"]} == {cfa}
        batch = store.read(np.arange(len(store)))
        span = WHITE - BLACK
        clean, noise = batch.clean.numpy() * span, batch.noise.numpy() * span
        # `noise` is scaled to that of the frame alone.
        light = 0.0 if pairing == "dark" else GAIN * np.maximum(clean, 0)
        square = noise**2 / (light + READ**2 + 1 / 12)
        each = square.mean((0, 2, 3))
        assert each.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / square.size) + 0.01)
        assert np.abs(each / each.mean() - 1).max() < 5 * np.sqrt(2 * len(each) / square.size)
        if pairing in ("gt", "burst"):
            for plane, name in zip(clean.mean((0, 2, 3)), plane_names(store.layout), strict=True):
                assert plane == pytest.approx(300 + 100 * "RGB".index(name[0]), abs=30)


@pytest.mark.parametrize("cfa", SOME)
def test_patches_are_slices_of_the_planes(cfa: str, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.dng", signal(cfa, (100, 151)), cfa, np.random.default_rng(1))
    with stored(tmp_path / "in", tmp_path / "a.h5", "none") as store:
        planes = read_raw(tmp_path / "in" / "a.dng").planes()
        side = cell_side(cfa)
        assert len(store) == (100 // side // 8) * (151 // side // 8)
        for codes, place in zip(store.codes(np.arange(len(store)))[0], store.table, strict=True):
            y, x = place["y"], place["x"]
            np.testing.assert_array_equal(codes, planes[:, y : y + 8, x : x + 8])


@pytest.mark.parametrize("cfa", SOME)
def test_a_hot_pixel_is_masked_and_a_star_is_not(cfa: str, tmp_path: Path) -> None:
    rng, shape = np.random.default_rng(3), (192, 288)
    y, x = np.mgrid[: shape[0], : shape[1]]
    star = 1500 * np.exp(-((y - 50) ** 2 + (x - 200) ** 2) / (2 * 0.8**2))
    masked = []
    for what, more in (("hot", 1500.0 * ((y == 100) & (x == 150))), ("star", star)):
        for number in range(4):
            write(tmp_path / what / f"{number}.dng", signal(cfa, shape) + more, cfa, rng)
        ingest([tmp_path / what], tmp_path / f"{what}.h5", IngestOptions(8, pairing="burst"))
        with PatchStore(tmp_path / f"{what}.h5") as store:
            observed = store.read(np.arange(len(store))).observed
            masked.append(0 if observed is None else int((~observed).flatten(1).any(1).sum()))
    # Of each of the four frames one patch holds the hot pixel.
    assert masked == [4, 0]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("cfa", [cfa for cfa in CFAS if len(cfa) > 4][::5])
def test_turns_keep_the_colours_of_planes_and_the_neighbours(cfa: str, turn: str) -> None:
    side = cell_side(cfa)
    shape = (6 * side, 6 * side)
    found = turned(pack(colours(cfa, shape), cfa), turn, cfa, (5, 5))
    for plane, name in zip(found, plane_names(layout_of(cfa)), strict=True):
        assert (plane == "RGB".index(name[0])).all()
    numbers = np.arange(shape[0] * shape[1]).reshape(shape)
    assert len(np.unique(turned(pack(numbers, cfa), turn, cfa, (5, 5)))) == 25 * side**2

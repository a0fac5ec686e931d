"""Every number of a calibration of each kind, beside those that this version was released with."""

import html
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import write_dng
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from noiseflow.calibrate import Calibration, calibrate, few_shot, measure_picture
from noiseflow.calibrate.body.from_pictures import maps_from_pictures
from noiseflow.calibrate.measurements.burst import burst_noise
from noiseflow.calibrate.prior.few_shot import curve_of_frames
from noiseflow.calibrate.report import figures, write_page
from noiseflow.raw.image import RawImage
from tools.checks.pinned import assert_pinned, numbers_in

HERE = Path(__file__).parent
SIZE, BLACK, WHITE, EXPOSURES_S = (64, 96), 100.0, 4095, (0.01, 1.0, 4.0)
ISOS = {100.0: 0.8, 400.0: 3.2}
"""K of each ISO, DN/e⁻."""


def frame(iso: float, electrons: float, exposure_s: float, seed: int) -> RawImage:
    """Shot, read, row and column noise, patterns, a dark current, hot pixels, drift, and a response that bends."""
    body, rng = np.random.default_rng(7), np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] / max(SIZE)
    pattern = 1.5 * body.standard_normal(SIZE) + 0.5 * body.standard_normal((SIZE[0], 1)) + 2 * np.cos(3 * x)
    current = np.abs(2 * body.standard_normal(SIZE))
    pattern.flat[body.choice(pattern.size, 5, replace=False)] += 80.0
    response = (1 + 0.01 * body.standard_normal(SIZE)) * (1 - 0.1 * (y - 0.3) ** 2)
    response[::2, ::2] *= 0.6
    light = rng.poisson(np.clip(electrons * response, 0, None)) * (1 + 0.003 * rng.standard_normal())
    noise = 3.0 * rng.standard_normal(SIZE) + 0.6 * rng.standard_normal((SIZE[0], 1))
    noise += 0.3 * rng.standard_t(4, SIZE) + 0.4 * rng.standard_normal((1, SIZE[1])) + 0.2 * rng.standard_normal()
    values = BLACK + ISOS[iso] * light * (1 - 2e-6 * light) + pattern + exposure_s * current + noise
    codes = np.clip(np.rint(values), 0, WHITE).astype(np.uint16)
    return RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, iso, exposure_s, make="Test", model="Body")


@pytest.fixture(scope="session")
def flats_and_darks(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Two ISOs, darks of three exposure times, and flats to saturation."""
    root = tmp_path_factory.mktemp("flats")
    for name in ("dark", "flat"):
        (root / name).mkdir()
    seed = 0
    for iso, gain in ISOS.items():
        for exposure_s in EXPOSURES_S:
            for _ in range(6):
                write_dng(root / "dark" / f"{seed:03}.dng", frame(iso, 0.0, exposure_s, seed))
                seed += 1
        for part in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.2, 1.6):
            for _ in range(2 if part != 0.5 else 6):
                light = part * (WHITE - BLACK) / gain
                write_dng(root / "flat" / f"{seed:03}.dng", frame(iso, light, 0.02 * part, seed))
                seed += 1
    return calibrate([root], maps=root / "body.h5")


def test_flats_and_darks(flats_and_darks: Calibration) -> None:
    assert_pinned(without_paths(flats_and_darks.profile), HERE / "flats_and_darks.json")


def test_curves_and_fits(flats_and_darks: Calibration) -> None:
    evidence = {f"{iso:g} {plane}": each for (iso, plane), each in flats_and_darks.evidence.items()}
    assert_pinned(evidence, HERE / "curves_and_fits.json")


def test_maps(flats_and_darks: Calibration) -> None:
    body = flats_and_darks.body
    assert body is not None
    assert_pinned(replace(body, provenance={}), HERE / "maps.json")


def without_paths(profile: Any) -> Any:
    """Of a profile without where and with what it was measured."""
    return replace(profile, provenance={})


def test_page_and_figures(flats_and_darks: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers in its words, and the data of each figure, of one plane."""
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "_images", lambda *panels: drawn.extend(panels) or "")
    profile = flats_and_darks.profile
    green = tuple(each for each in profile.settings if each.plane == "G1")
    shown = replace(profile, settings=green, provenance={})
    write_page(replace(flats_and_darks, profile=shown), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    numbers = numbers_in(html.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)))
    assert_pinned({"text": numbers, "figures": [of_panel(each) for each in drawn]}, HERE / "page.json")


def of_panel(axes: Any) -> dict[str, Any]:
    """Lines, areas, images and limits of a panel."""
    return {
        "title": axes.get_title(),
        "lines": [np.array([np.asarray(each, float) for each in line.get_data()]) for line in axes.lines],
        "areas": [path.vertices for each in axes.collections for path in each.get_paths()],
        "bars": [
            [each.get_x(), each.get_width(), each.get_height()] for each in axes.patches if hasattr(each, "get_x")
        ],
        "images": [np.asarray(each.get_array(), float) for each in axes.images],
        "limits": [*map(float, axes.get_xlim()), *map(float, axes.get_ylim())],
    }


def test_a_table(tmp_path: Path) -> None:
    for name, levels in (("One_flat", np.geomspace(20, 12000, 14)), ("One_dark", np.zeros(4))):
        rows = []
        for iso, gain in ISOS.items():
            for place, level in enumerate(levels):
                signal = level or 2.0 * place
                noise = (1 + 0.01 * np.sin(5.0 * place + iso)) * np.sqrt(gain * signal + 9 * gain)
                rows.append(f"{iso:g};{0.01 * (place + 1):g};{600 + signal:.3f};{noise:.5f}")
        (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
    found = calibrate([tmp_path / "One_flat.csv", tmp_path / "One_dark.csv"])
    evidence = {f"{iso:g} {plane}": each for (iso, plane), each in found.evidence.items()}
    assert_pinned({"profile": without_paths(found.profile), "evidence": evidence}, HERE / "table.json")


def scene(size: tuple[int, int]) -> NDArray[np.float64]:
    y, x = np.mgrid[: size[0], : size[1]]
    return 200 + 12.0 * x + 3 * y + 50 * np.sin(y / 7) + 100 * ((x // 24 + y // 24) % 2)


def test_a_burst() -> None:
    rng, light = np.random.default_rng(3), scene((96, 160))
    frames = [gain * light + np.sqrt(2 * light + 25) * rng.normal(size=light.shape) for gain in (1.0, 1.012, 0.99, 1.0)]
    assert_pinned(burst_noise(frames, 0.0, 4095.0), HERE / "burst.json")


def picture(iso: float, seed: int, lit: bool = True) -> RawImage:
    """Steps with some texture, at ISO 100 · K / 0.8."""
    rng, size = np.random.default_rng(seed), (256, 320)
    y, x = np.mgrid[: size[0], : size[1]]
    light = (0.8 / ISOS[iso]) * (60.0 * 1.6 ** (x // 32) + 2 * np.sin(y / 3)) * lit
    noise = 3.0 * rng.standard_normal(size) + 1.2 * rng.standard_normal((size[0], 1))
    values = 512 + ISOS[iso] * rng.poisson(light) + noise + 0.3 * rng.standard_t(3, size)
    codes = np.clip(np.rint(values), 0, 16383).astype(np.uint16)
    return RawImage(codes, "RGGB", (512.0,) * 4, 16383, iso, 0.01, make="", model="A", source=f"{iso:g}_{seed}.dng")


def test_one_picture() -> None:
    assert_pinned(measure_picture(picture(400.0, 1)), HERE / "picture.json")


def test_a_camera_from_few_frames() -> None:
    frames = [picture(400.0, 1), picture(400.0, 2), picture(100.0, 3), picture(400.0, 4, lit=False)]
    curve, profile = curve_of_frames(frames), few_shot(frames, (100.0, 400.0, 1600.0))
    assert_pinned({"curve": curve, "profile": without_paths(profile)}, HERE / "few_frames.json")


def shot(number: int) -> RawImage:
    """A picture of its own scene by a body with offsets and gains."""
    body, rng, size = np.random.default_rng(6), np.random.default_rng(number), (96, 128)
    offset, gain = body.normal(0, 2.0, size), 1 + body.normal(0, 0.08, size)
    offset[40, 51] = 150.0
    smooth = gaussian_filter(rng.normal(size=size), 9, mode="wrap")
    light = rng.poisson(np.clip(60 * np.exp(1.2 * smooth / smooth.std()), 0, 3500) * gain / 0.5)
    codes = np.rint(64 + 0.5 * light + offset + 1.5 * rng.standard_normal(size)).clip(0, 4095).astype(np.uint16)
    return RawImage(codes, "RGGB", (64.0,) * 4, 4095, 400, 0.01, make="Test", model="Body", source=f"picture {number}")


def test_maps_from_pictures() -> None:
    body = maps_from_pictures([partial(shot, number) for number in range(32)])
    assert_pinned(replace(body, provenance={}), HERE / "maps_from_pictures.json")

"""Frames that do not belong to the others: of another exposure, without light, turned, or disturbed."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import frame
from burst_of_steps import BLACK, GAIN, READ, SHAPE, SIGNAL, WHITE, X, Y, measured
from scipy.ndimage import gaussian_filter

from noiseflow.core.errors import NoiseflowError
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.pairings.burst import fit_drift
from noiseflow.patches.pairings.frames.motion import Shift, fine_gain
from noiseflow.raw.formats.dng import write_dng

RAMP = np.linspace(5, 600, SHAPE[1])[None].repeat(SHAPE[0], 0)


def shot(signal: np.ndarray, seed: int, read: float = READ) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes = BLACK + GAIN * rng.poisson(signal / GAIN) + rng.normal(0, read, SHAPE)
    return np.clip(np.rint(codes), 0, WHITE).astype(np.uint16)


def written(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, codes in enumerate(frames):
        write_dng(folder / f"{number}.dng", frame(codes))
    return folder


@pytest.mark.parametrize("scene", ["ramp", "texture"])
@pytest.mark.parametrize(
    ("light", "named"),
    [((1, 1, 0, 1, 1), 2), ((0.25, 0.5, 0.5, 0.5), 0), ((1, 1, 1, 2), 3), ((0, 0, 0, 1, 1), None), ((0.5, 1), None)],
)
def test_a_burst_of_several_exposures_is_refused(tmp_path: Path, scene: str, light: list[float], named: int) -> None:
    """Without exposure times in the files; K was 1.87 for 0.8 and 0, and nothing was said."""
    signal = {"ramp": RAMP, "texture": SIGNAL}[scene] / max(light)
    folder = written(tmp_path / "burst", [shot(part * signal, seed) for seed, part in enumerate(light)])
    name = r"\d" if named is None else str(named)
    with pytest.raises(
        NoiseflowError,
        match=rf"burst: {name}\.dng shows the scene with (over |under )?[\d.e-]+ times the light of \d\.dng",
    ):
        measured(folder)


def test_exposures_of_1_2_4_are_refused_by_the_ratio_of_the_ends(tmp_path: Path) -> None:
    """It was that of the brightest and the median, 2."""
    folder = written(tmp_path / "burst", [shot(part * SIGNAL, seed) for seed, part in enumerate((0.25, 0.5, 1))])
    with pytest.raises(NoiseflowError, match=r"2\.dng shows the scene with (3\.\d|4|4\.\d) times the light of 0\.dng"):
        measured(folder)


def dim(folder: Path, levels: np.ndarray, noise: float, black: float, unit: int, white: int = 65535) -> list[str]:
    """What is said of frames of these levels in codes of `unit` DN; the black level in DN."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number, level in enumerate(levels):
        codes = unit * np.rint(level + rng.normal(0, noise, SHAPE)) + black
        known = frame(np.clip(codes, 0, white).astype(np.uint16))
        write_dng(folder / f"{number}.dng", replace(known, black=(black,) * 4, white=float(white)))
    return list(ingest([folder], folder.with_suffix(".h5"), IngestOptions(patch_size=16)).notes)


def test_a_pedestal_that_creeps_over_a_dim_sky_is_no_other_exposure(tmp_path: Path) -> None:
    """Left-aligned codes of 12 bits: 0.5 of 4096 a frame is 8 DN of 65535."""
    number = np.arange(6)
    dim(tmp_path / "sky", 1.2 + 0.5 * number[:, None, None] + np.zeros(SHAPE), 2, 800, 16)
    darks = dim(tmp_path / "frames", 0.35 * number[:, None, None] + np.zeros(SHAPE), 2, 800, 16)
    assert [note for note in darks if "looks dark" in note and "ingest them with --pairing dark" in note]


@pytest.mark.parametrize("light", [(9, 9, 18), (10, 10, 10, 20)])
def test_dim_exposures_of_a_scene_are_refused_by_their_noise(tmp_path: Path, light: tuple[int, ...]) -> None:
    """Their light differs by less than a black level may drift, but so does their noise."""
    scene = 1 + 0.6 * np.sin(X / 10) + 0.3 * (X // 16 % 2)
    frames = [shot(part * scene / scene.mean() + np.zeros(SHAPE), seed) for seed, part in enumerate(light)]
    with pytest.raises(NoiseflowError, match=r"shows the scene with [\d.]+ times the light of"):
        measured(written(tmp_path / "scene", frames))


@pytest.mark.parametrize("vignette", [0.0, 0.3])
def test_a_sky_that_grows_threefold_is_refused(tmp_path: Path, vignette: float) -> None:
    """From 20 to 60 of 16383 DN, and its gradient with it: K came out at 0.64 for 0.8."""
    stars = 4000 * (np.random.default_rng(1).random(SHAPE) < 0.002) * (1 - 0.9 * X / SHAPE[1])
    sky = np.linspace(20, 60, 6)[:, None, None] * (1 - vignette * X / SHAPE[1])
    with pytest.raises(NoiseflowError, match=r"shows the scene with .* the light of"):
        dim(tmp_path / "sky", stars + sky, 5, 512, 1, 16383)


@pytest.mark.parametrize("light", [(20, 20, 40, 40, 80, 80), (40, 40, 40, 40, 40, 80)])
def test_dim_exposures_of_a_scene_with_contrast_are_refused(tmp_path: Path, light: tuple[int, ...]) -> None:
    """K came out at 1.18 and 1.11 for 0.8, and σ at 0 for 3, where the light differed by 60 of 16383 DN."""
    scene = 1 + 0.6 * np.sin(X / 10) + 0.3 * (X // 16 % 2)
    levels = [part * scene / scene.mean() + np.zeros(SHAPE) for part in light]
    with pytest.raises(NoiseflowError, match=r"shows the scene with .* the light of"):
        dim(tmp_path / "scene", np.array(levels), 3, 512, 1, 16383)


@pytest.mark.parametrize("light", [(1, 2), (0, 1)])
@pytest.mark.parametrize(("most", "refused"), [(24, False), (40, True), (600, True)])
def test_noisy_pairs_of_dim_frames(tmp_path: Path, light: tuple[int, int], most: int, refused: bool) -> None:
    """The difference is 12 or 24 DN of 16383 where the black level may differ so; 20 and 40, or 300 and 600."""
    folder = tmp_path / "pair"
    folder.mkdir()
    for number, part in enumerate(light):
        known = frame(shot(np.full(SHAPE, most * part / 2), number))
        write_dng(folder / f"{number}.dng", replace(known, white=16383.0))
    options = IngestOptions(patch_size=16, pairing="noisy-pair")
    with pytest.raises(NoiseflowError, match="not a pair with one exposure") if refused else nullcontext():
        ingest([folder], tmp_path / "p.h5", options)


@pytest.mark.parametrize("turned", [np.s_[::-1, ::-1], np.s_[:, ::-1]])
def test_a_turned_ramp_is_no_drift(tmp_path: Path, turned: tuple[slice, slice]) -> None:
    """It is a line of the others, of gain −1: K was 3.4 for 0.8."""
    frames = [shot(RAMP, seed) for seed in range(5)]
    frames[1] = frames[1][turned].copy()
    with pytest.raises(NoiseflowError, match=r"1\.dng shows the scene with .* rotated"):
        measured(written(tmp_path / "burst", frames))


def test_a_lamp_that_flickers_is_no_other_exposure(tmp_path: Path) -> None:
    light = (1.0, 0.85, 1.15, 0.9, 1.1, 1.2, 0.8)
    gain, read = measured(written(tmp_path / "burst", [shot(part * 0.8 * RAMP, n) for n, part in enumerate(light)]))
    assert gain == pytest.approx(GAIN, rel=0.02)
    assert read == pytest.approx(READ, rel=0.05)


def test_noisy_pairs_and_darks_of_other_light_are_refused(tmp_path: Path) -> None:
    pair = written(tmp_path / "pair", [shot(0.5 * SIGNAL, 0), shot(SIGNAL, 1)])
    with pytest.raises(NoiseflowError, match=r"1\.dng: has a mean of .* they are not a pair with one exposure"):
        measured(pair, pairing="noisy-pair")
    darks = written(tmp_path / "darks", [shot(SIGNAL * (n == 3), n) for n in range(5)])
    with pytest.raises(
        NoiseflowError, match=r"darks: 3\.dng has a mean of .*, but the other darks have 64.*: light fell on it"
    ):
        measured(darks)


@pytest.mark.parametrize("turned", [np.s_[::-1, ::-1], np.s_[:, ::-1]])
def test_why_all_is_masked_is_said(tmp_path: Path, turned: tuple[slice, slice]) -> None:
    """It was: are the frames smaller than a patch, or all clipped?"""
    frames = [shot(SIGNAL, seed) for seed in range(4)]
    frames[2] = frames[2][turned].copy()
    with pytest.raises(NoiseflowError, match=r"0 left out as clipped, \d+ as masked\. burst: not a static .*2\.dng"):
        measured(written(tmp_path / "burst", frames))


def test_a_disturbed_frame_is_said(tmp_path: Path) -> None:
    """σ was 7.3 for 3 DN: the mean over the frames, of which one has four times as much."""
    frames = [shot(SIGNAL, seed, 12.0 if seed == 3 else READ) for seed in range(6)]
    folder = written(tmp_path / "burst", frames)
    result = ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    (words,) = [note for note in result.notes if "times the noise variance" in note]
    assert "3.dng has" in words
    again = written(tmp_path / "usual", frames[:3] + frames[4:] + [shot(SIGNAL, 9)])
    result = ingest([again], tmp_path / "q.h5", IngestOptions(patch_size=16))
    assert not [note for note in result.notes if "times the noise" in note]


def structures() -> dict[str, np.ndarray]:
    """A ramp, stars, and texture that is finer than the blocks by which gains were found; of mean 1."""
    rng = np.random.default_rng(3)
    blob = gaussian_filter(rng.normal(0, 1, SHAPE), 2.0)
    stars = 0.1 + 6 * gaussian_filter((rng.random(SHAPE) < 0.003).astype(float), 1.5)
    found = {"ramp": 0.2 + 1.6 * X / SHAPE[1], "fine": np.maximum(1 + 0.3 * blob / blob.std(), 0.05), "stars": stars}
    return {name: each + np.zeros(SHAPE) for name, each in ((name, each / each.mean()) for name, each in found.items())}


@pytest.mark.parametrize("scene", ["ramp", "fine", "stars"])
@pytest.mark.parametrize("light", [(100, 150), (100, 100, 100, 150), (90, 95, 100, 105, 110)])
def test_light_that_changes_leaves_no_structure_in_the_noise(
    tmp_path: Path, scene: str, light: tuple[int, ...]
) -> None:
    """K was 0.96 of a ramp with one frame of 1.5 times the light, 1.24 of stars, 1.09 and masked of fine texture."""
    frames = [shot(part * structures()[scene], seed) for seed, part in enumerate(light)]
    gain, read = measured(written(tmp_path / "burst", frames))
    # Three standard errors of frames of so little light.
    assert gain == pytest.approx(GAIN, rel=0.08)
    assert read == pytest.approx(READ, rel=0.25)


def test_what_goes_away_is_no_light_that_changes(tmp_path: Path) -> None:
    """Pixels of what has gone have a gain of 0, all alike; they are masked, and the rest is right."""
    signal = np.full(SHAPE, 200.0)
    gone = signal.copy()
    gone[40:90, 60:120] += 150 * (1 + np.sin(X / 3)[40:90, 60:120])
    frames = [shot(gone if seed == 1 else signal, seed) for seed in range(4)]
    folder = written(tmp_path / "burst", frames)
    result = ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    with PatchStore(tmp_path / "p.h5") as store:
        facts = store.scene_facts["burst"]
    assert not facts["flicker"]
    assert result.masked


@pytest.mark.parametrize("highlights", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("light", [1.02, 0.98, 1.5])
def test_the_gain_of_a_frame_is_right_beside_clipped_highlights(highlights: float, light: float) -> None:
    """Of ±0.018 it found ±0.003 where 15 % of the pixels clipped, with an error that made it sure."""
    rng = np.random.default_rng(0)
    signal = 300 + 200 * rng.random((64, 3, 1200))
    signal[:, :, 1:] += 0.5 * signal[:, :, :-1]
    signal[rng.random(signal.shape) < highlights] = 3000
    frames = [np.minimum(part * signal + rng.normal(0, 3, signal.shape), 1023) for part in (light, 1, 1, 1)]
    frames = [each.astype(np.float32) for each in frames]
    others = np.mean(frames[1:], 0)
    gain, error = fine_gain(frames[0][:, 1] - others[:, 1], others, 0.9 * 1023)
    assert error < 0.005
    assert gain == pytest.approx(light, abs=5 * error)


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_a_flat_scene_has_no_gain(shared: float) -> None:
    """Noise that neighbours share is in both, the level and its instrument."""
    rng = np.random.default_rng(0)
    frames = rng.normal(0, 3, (4, 64, 1200, 3)).astype(np.float32)
    frames[:, :, 1:] += shared * frames[:, :, :-1]
    frames = np.moveaxis(frames, -1, 2) + 100
    found = []
    for number in range(4):
        others = frames[np.arange(4) != number].mean(0)
        found.append(Shift(0.0, 0.0, 0.0, *fine_gain(frames[number][:, 1] - others[:, 1], others)))
    middles, variance = np.zeros((4, 1, 4, 20)), np.full((1, 4, 20), 9 / 256)
    drift = fit_drift(middles, np.full((1, 4, 20), 100.0), variance, [[each] for each in found])
    assert not drift.flicker


def test_stars_in_no_neighbour_of_their_plane_tell_the_light() -> None:
    """A star of σ 0.7 pixels is in one pixel of a plane: no gain was known, and K was 3 % off."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:128, :2048]
    signal = np.full(y.shape, 20.0)
    for top, left, height in zip(*rng.uniform([[6], [6], [0]], [[122], [2042], [1]], (3, 1200)), strict=True):
        near = np.s_[int(top) - 4 : int(top) + 5, int(left) - 4 : int(left) + 5]
        far = (y[near] - top) ** 2 + (x[near] - left) ** 2
        signal[near] -= 400 * np.log(height) * np.exp(-far / 2 / 0.7**2)
    signal = signal.clip(max=850)
    light = (1.01, 0.99, 1.0, 1.0)
    frames = [part * signal + rng.normal(size=y.shape) * np.sqrt(0.8 * part * signal + 9) for part in light]
    # Four planes, as (C, n, h, w), and every row of a plane with the one above and below it.
    planes = np.array([[each[a::2, b::2] for each in frames] for a in (0, 1) for b in (0, 1)], np.float32)
    rows = np.arange(1, 63)
    found = {}
    for number in (0, 1):
        mean = planes.mean(1)
        others = (4 * mean[0] - planes[0, number]) / 3
        around = np.stack([others[rows - 1], others[rows], others[rows + 1]], 1)
        step = planes[0, number][rows] - others[rows]
        found[number] = [fine_gain(step, around, np.inf, beside) for beside in (mean[1:, rows].sum(0), None)]
    for number, expected in ((0, 1.01 / (2.99 / 3)), (1, 0.99 / (3.01 / 3))):
        (gain, error), (_, alone) = found[number]
        assert error < 0.005
        assert error < 0.8 * alone
        assert gain == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("alike", [True, False])
def test_planes_that_agree_have_one_light(alike: bool) -> None:
    """Of four planes some had no gain, as each alone was not sure; a lamp that changes its colour has four gains."""
    light = np.array([1.012, 0.988, 1.0, 1.004, 0.996])
    changes = [light - 1] * 4 if alike else [part * (light - 1) for part in (3, 4, 4, 8)]
    share = [1 + change for change in changes]
    flows = []
    for number in range(5):
        of_others = [(plane.sum() - plane[number]) / 4 for plane in share]
        flows.append(
            [Shift(0.0, 0.0, 0.0, plane[number] / rest, 0.004) for plane, rest in zip(share, of_others, strict=True)]
        )
    middles, variance = np.zeros((5, 4, 4, 20)), np.full((4, 4, 20), 9 / 256)
    drift = fit_drift(middles, np.full((4, 4, 20), 100.0), variance, flows)
    gains = drift.gains / np.median(drift.gains, 0)
    assert (np.ptp(gains, 1).max() < 1e-9) == alike
    for plane in range(4):
        assert gains[:, plane] == pytest.approx(share[plane] / np.median(share[plane]), abs=1e-3)


def test_planes_that_are_not_sharp_are_not_so_together() -> None:
    """Two darks of an 8-bit sensor whose fixed pattern rounds otherwise: four gains of 0.3 ± 0.04 refused the burst."""
    flows = [[Shift(0.0, 0.0, 0.0, gain, 0.038)] * 4 for gain in (0.51, 1.96)]
    middles, variance = np.zeros((2, 4, 4, 20)), np.full((4, 4, 20), 9 / 256)
    assert (fit_drift(middles, np.full((4, 4, 20), 0.1), variance, flows).gains == 1).all()


FLAT = np.ones(SHAPE)


@pytest.mark.parametrize("light", [(9, 18), (9, 9, 18), (9, 18, 9, 18, 9, 18), (10, 10, 10, 20)])
def test_dim_flat_exposures_are_refused(tmp_path: Path, light: tuple[int, ...]) -> None:
    """No structure tells light from black that drifts, but noise does: K was 0, 0.40 and 0.64 for 0.8."""
    folder = written(tmp_path / "burst", [shot(part * FLAT, seed) for seed, part in enumerate(light)])
    with pytest.raises(NoiseflowError, match=r"shows the scene with .* the light of"):
        measured(folder)


@pytest.mark.parametrize("light", [(100, 100, 150), (100, 100, 100, 150), (90, 100, 110), (12, 14, 16, 18)])
def test_flat_frames_whose_light_changes(tmp_path: Path, light: tuple[int, ...]) -> None:
    """K was 0.39, 0.53, 0.37: each frame had the noise of the others in its clean signal, as if all had equal light."""
    folder = written(tmp_path / "burst", [shot(part * FLAT, seed) for seed, part in enumerate(light)])
    ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    with PatchStore(tmp_path / "p.h5") as store:
        facts = store.scene_facts["burst"]
        batch = store.read(np.arange(len(store)))
        span = float(store.table["white"][0] - store.table["black"][0, 0])
    assert facts["flicker"]
    gains = np.mean(facts["frame_gains"], 1)
    assert gains == pytest.approx(np.array(light) / np.median(light), rel=0.01)
    noise, clean = (part.numpy() * span for part in (batch.noise, batch.clean))
    levels = np.unique(light)
    nearest = levels[np.abs(clean.mean((1, 2, 3))[:, None] - levels).argmin(1)]
    for level in levels.tolist():
        # Of each frame that of its own light; four standard errors of 38,400 values, and what the mean frame adds.
        variance = float((noise[nearest == level] ** 2).mean())
        assert variance == pytest.approx(GAIN * level + READ**2 + 1 / 12, rel=0.06)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("level", "noise"), [(100, 9.0), (12, 2.0), (30, 4.0)])
def test_black_that_drifts_over_a_flat_scene_is_no_light(tmp_path: Path, level: int, noise: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder = tmp_path / "burst"
    folder.mkdir()
    for number, drift in enumerate((0, 3, 5, 1)):
        codes = np.rint(BLACK + level + drift + rng.normal(0, noise, SHAPE)).astype(np.uint16)
        write_dng(folder / f"{number}.dng", frame(codes))
    ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    with PatchStore(tmp_path / "p.h5") as store:
        assert not store.scene_facts["burst"]["flicker"]


@pytest.mark.parametrize(("drift", "said"), [((0, 0, 0, 8, 8, 8), True), ((0, 4, 8), True), ((0, 1, 0.5, 0), False)])
@pytest.mark.parametrize("scene", ["ramp", "flat"])
def test_black_that_drifts_beyond_the_noise_is_said(
    tmp_path: Path, scene: str, drift: tuple[float, ...], said: bool
) -> None:
    """σ was 2.74 for 3 DN where the black level of half of the frames lies 8 DN higher."""
    signal = {"ramp": RAMP, "flat": 10 * FLAT}[scene]
    frames = []
    for number, by in enumerate(drift):
        rng = np.random.default_rng(number)
        codes = BLACK + by + GAIN * rng.poisson(signal / GAIN) + rng.normal(0, READ, SHAPE)
        frames.append(np.clip(np.rint(codes), 0, WHITE).astype(np.uint16))
    result = ingest([written(tmp_path / "burst", frames)], tmp_path / "p.h5", IngestOptions(patch_size=16))
    # Over a flat scene it may be light as well.
    assert any("the black level drifts: " in note for note in result.notes) == (said and scene == "ramp")


@pytest.mark.parametrize(("kind", "lamp"), [("lamp", True), ("thing", False), ("leaves", False)])
def test_a_lamp_by_rows_is_no_motion(tmp_path: Path, kind: str, lamp: bool) -> None:
    """The words were that whole frames had moved by up to 1.2 pixels."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(5):
        if kind == "lamp":
            signal = SIGNAL * (1 + 0.08 * np.sin(2 * np.pi * (Y / 60 + rng.random())))
        elif kind == "thing":
            signal = SIGNAL + 150.0 * ((X - 40 * number) // 40 == 0) * (Y > 60)
        else:
            blob = gaussian_filter(rng.normal(size=SHAPE), 12)
            signal = SIGNAL * np.clip(1 + 0.08 * blob / blob.std(), 0.1, None)
        frames.append(shot(signal, number))
    try:
        words = " ".join(ingest([written(tmp_path / "burst", frames)], tmp_path / "p.h5", IngestOptions(16)).notes)
    except NoiseflowError as error:
        words = str(error)
    assert "moves" in words
    assert ("light that differs from row to row" in words) == lamp

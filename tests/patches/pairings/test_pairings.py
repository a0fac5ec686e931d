import json
from pathlib import Path

import numpy as np
import pytest
from simulated_scenes import BLACK, GAIN, READ, WHITE, image, noise, pairs, prepared, scene, shoot

from noiseflow.core.errors import RawError
from noiseflow.patches import IngestOptions, PatchStore, collect, ingest
from noiseflow.patches.pairings import PAIRINGS, choose_pairing
from noiseflow.patches.pairings.burst import fit_drift
from noiseflow.patches.sources import Frame, Scene
from noiseflow.patches.sources.scene import kind_of
from noiseflow.raw.bayer import pack, unpack
from noiseflow.raw.formats.dng import write_dng

EMVA = "emva1288/EMVA1288_ReferenceSet_001_CCD_12Bit"
SIZE = (128, 192)
RAMP = np.linspace(50, 2500, SIZE[1])[None].repeat(SIZE[0], 0)


def kinds_of_scenes() -> dict[str, Scene]:
    flats = shoot([np.full(SIZE, 1000.0)] * 4, 1)
    return {
        "gt": scene(shoot([RAMP] * 2, 0), clean=(BLACK + RAMP).astype(np.uint16)),
        "flat": scene(flats, "flat"),
        "dark": scene(shoot([np.zeros(SIZE)] * 4, 3), "dark"),
        "burst": scene(shoot([RAMP] * 4, 2)),
        "noisy-pair": scene(shoot([RAMP] * 5, 4)),
        "none": scene(shoot([RAMP], 5)),
    }


def test_every_pairing_has_its_case() -> None:
    assert list(kinds_of_scenes()) == list(PAIRINGS)


@pytest.mark.parametrize("name", PAIRINGS)
def test_contract(name: str) -> None:
    """Facts are JSON-able, pairs fit the frame and are the same each time."""
    of, pairing = kinds_of_scenes()[name], PAIRINGS[name]
    assert pairing.allows(of)
    reference, made = pairs(name, of)
    assert json.loads(json.dumps(reference.facts)) == reference.facts
    assert [pair.number for pair in made] == list(pairing.usable(of))
    for first, second in zip(made, pairs(name, of)[1], strict=True):
        np.testing.assert_array_equal(first.noisy.mosaic, of.frames[first.number].read().mosaic)
        assert (first.clean is None) == (pairing.clean == "none")
        if first.clean is None:
            continue
        assert first.clean.dtype == np.float32
        assert first.clean.shape == first.noisy.planes().shape
        assert first.valid is None or (first.valid.dtype == bool and first.valid.shape == first.clean.shape)
        np.testing.assert_array_equal(first.clean, second.clean)
        assert first.clean_variance == second.clean_variance


def measured_over_true(name: str, signals: list[np.ndarray], kind: str = "") -> tuple[dict, float]:
    """Mean of noise² over its expectation at each pixel, which is 1 if nothing is biased."""
    of = scene(shoot(signals, seed=11), kind)
    reference, made = pairs(name, of)
    ratios = []
    for pair in made:
        expected = GAIN * signals[pair.number] + READ**2 + 1 / 12
        mosaic = unpack(noise(pair), "GRBG")
        assert np.isfinite(mosaic).mean() > 0.99
        ratios.append(np.nanmean(mosaic**2 / expected))
    return dict(reference.facts), float(np.mean(ratios))


# n frames of 24 576 pixels, n − 1 of them independent: standard error √(2/(24 576·(n − 1))),
# 0.0037 for 7 frames, 0.009 for 2; the tolerances are four of these, one false alarm in 16 000.
@pytest.mark.parametrize(("count", "tolerance"), [(2, 0.036), (7, 0.015)])
@pytest.mark.parametrize("change", ["still", "drift", "flicker", "both"])
def test_burst_gives_the_true_variance(count: int, tolerance: float, change: str) -> None:
    steps = np.arange(count)
    offsets = 6.0 * steps if change in ("drift", "both") else 0.0 * steps
    gains = 1 + 0.03 * (-1.0) ** steps if change in ("flicker", "both") else 1.0 + 0 * steps
    facts, ratio = measured_over_true("burst", [g * RAMP + o for g, o in zip(gains, offsets, strict=True)])
    assert ratio == pytest.approx(1, abs=tolerance)
    assert facts["flicker"] == (change in ("flicker", "both"))
    found = np.array(facts["frame_gains"])
    # A gain over 4 planes of 6144 pixels is known to about 0.0006; five of these.
    np.testing.assert_allclose(found / found[0], (gains / gains[0])[:, None] * np.ones(4), atol=0.004)


def test_without_the_gain_flicker_would_double_the_variance() -> None:
    """The fault that the correction is there for."""
    signals = [g * RAMP for g in (0.97, 1.03, 0.97, 1.03)]
    first, *others = (mosaic.astype(np.float64) for mosaic in shoot(signals, 11))
    step = first - np.mean(others, 0)
    step -= step.mean()
    assert np.mean(step**2 / (1 + 1 / 3) / (GAIN * signals[0] + READ**2)) > 1.5


def test_flats_of_one_level_give_the_true_variance_and_response() -> None:
    rng = np.random.default_rng(5)
    response = 1 + 0.01 * rng.normal(size=SIZE)
    levels = 1000 * (1 + 0.02 * rng.normal(size=7))
    facts, ratio = measured_over_true("flat", [level * response for level in levels], "flat")
    assert ratio == pytest.approx(1, abs=0.015)
    assert not facts["levels_apart"]
    # σ_p² = PRNU² + noise/(7·level²): 0.01² + 809/7e6.
    assert np.mean(facts["response_sigma"]) == pytest.approx((0.01**2 + (GAIN * 1000 + READ**2) / 7e6) ** 0.5, rel=0.03)


def test_flats_of_several_levels_tell_offset_from_response() -> None:
    rng = np.random.default_rng(6)
    response, pattern = 1 + 0.02 * rng.normal(size=SIZE), 8 * np.abs(rng.normal(size=SIZE))
    levels = np.array([100.0, 300.0, 800.0, 1500.0, 2500.0, 2600.0, 200.0])
    signals = [level * response + pattern for level in levels]
    facts, ratio = measured_over_true("flat", signals, "flat")
    assert facts["levels_apart"]
    # Seven frames; the shares of the clean estimates' variance rest on measured variances.
    assert ratio == pytest.approx(1, abs=0.03)


def test_clipped_flats_are_masked_and_spoil_no_other() -> None:
    mosaics = shoot([np.full(SIZE, level) for level in (1000.0, 1000.0, 1000.0, 4500.0)], 7)
    reference, made = pairs("flat", scene(mosaics, "flat"))
    assert reference.facts["clipped"] == [False, False, False, True]
    assert "at the white level" in reference.cautions[0]
    assert [bool(pair.valid.any()) for pair in made] == [True, True, True, False]
    assert np.mean([np.nanmean(noise(pair) ** 2) for pair in made[:3]]) == pytest.approx(809, rel=0.03)


def test_darks_keep_row_noise_and_lose_drift_and_pattern() -> None:
    rng = np.random.default_rng(8)
    pattern = rng.exponential(4, SIZE)
    mosaics = [
        np.clip(
            np.rint(BLACK + pattern + drift + rng.normal(0, READ, SIZE) + rng.normal(0, 1.5, (SIZE[0], 1))), 0, 4095
        )
        for drift in (0, 3, -3, 5, 1, -2)
    ]
    reference, made = pairs("dark", scene([mosaic.astype(np.uint16) for mosaic in mosaics], "dark"))
    errors = [unpack(noise(pair), "GRBG") for pair in made]
    # 640 independent row offsets: standard error 5.6 % of their variance.
    rows = np.mean([np.nanmean(error, 1).var() - np.nanvar(error) / SIZE[1] for error in errors])
    assert rows == pytest.approx(1.5**2, rel=0.2)
    assert np.mean([np.nanmean(error**2) for error in errors]) == pytest.approx(READ**2 + 1.5**2 + 1 / 12, rel=0.05)
    assert reference.facts["drift_dn"] == pytest.approx(np.std([0, 3, -3, 5, 1, -2], ddof=1), abs=0.3)


@pytest.mark.parametrize(
    ("part", "rise", "said"),
    [(0.0, 0.0, True), (0.0046, 0.0, True), (0.0054, 0.0, False), (0.003, 0.0014, True), (0.003, 0.0021, False)],
)
def test_a_burst_of_less_than_a_two_hundredth_of_the_range_that_is_flat_looks_dark(
    part: float, rise: float, said: bool
) -> None:
    """A ramp's standard deviation is its height over √12: flat is a tenth of the two hundredth."""
    ramp = part + rise * (np.linspace(0, 1, SIZE[1]) - 0.5)
    light = (WHITE - BLACK) * ramp * np.ones(SIZE)
    cautions = prepared("burst", scene(shoot([light] * 8, 1))).cautions
    assert any("looks dark" in words for words in cautions) is said


def test_a_flat_called_dark_is_said_aloud() -> None:
    reference = prepared("dark", scene(shoot([np.full(SIZE, 900.0)] * 3, 1), "dark"))
    assert "taken for dark" in reference.cautions[0]
    reference = prepared("flat", scene(shoot([np.full(SIZE, 2.0)] * 3, 1), "flat"))
    assert "dark frames?" in reference.cautions[0]
    reference = prepared("burst", scene(shoot([np.zeros(SIZE)] * 3, 1)))
    assert "looks dark" in reference.cautions[0]


def test_noisy_pairs_hold_each_frame_once_and_unchanged() -> None:
    mosaics = shoot([RAMP] * 5, 9)
    _, made = pairs("noisy-pair", scene(mosaics))
    assert [pair.number for pair in made] == [0, 2]
    for pair in made:
        assert pair.clean_variance == 1
        np.testing.assert_array_equal(pair.clean, image(mosaics[pair.number + 1]).planes())


def test_a_twin_of_other_levels_is_brought_to_the_frame() -> None:
    frame = image(shoot([RAMP], 1)[0])
    twin = image(np.rint(200 + RAMP / 2).astype(np.uint16), black=200)
    of = Scene("made", (Frame(Path("n.dng"), lambda: frame),), clean=Frame(Path("c.dng"), lambda: twin))
    (pair,) = pairs("gt", of)[1]
    expected = BLACK + (twin.planes() - 200.0) * (4095 - BLACK) / (4095 - 200)
    np.testing.assert_allclose(pair.clean, expected, rtol=1e-6)
    assert pair.clean_variance == 0


def many(kind: str, frames: int, count: int = 2, clean: bool = False) -> list[Scene]:
    frame = Frame(Path("f.dng"), lambda: image(np.zeros((2, 2), np.uint16)))
    return [Scene(f"{kind}{n}", (frame,) * frames, frame if clean else None, kind=kind) for n in range(count)]


@pytest.mark.parametrize(
    ("scenes", "wanted", "pairing", "taken", "words"),
    [
        (many("", 1, clean=True), "auto", "gt", 2, "clean twin"),
        (many("", 4), "auto", "burst", 2, "two frames or more"),
        (many("dark", 4), "auto", "dark", 2, "all dark"),
        (many("flat", 4), "auto", "flat", 2, "all flat"),
        (many("dark", 4) + many("", 4), "auto", "burst", 4, "--pairing dark"),
        (many("dark", 4) + many("flat", 4), "auto", "burst", 4, "2 dark, 2 flat"),
        (many("", 4) + many("", 1, 1), "auto", "none", 3, "one frame only"),
        (many("dark", 1), "auto", "none", 2, "one frame only"),
        (many("dark", 4) + many("flat", 4), "dark", "dark", 2, "left out 2"),
        (many("dark", 4) + many("", 4), "flat", "flat", 2, "left out 2"),
        (many("dark", 4) + many("flat", 4), "burst", "burst", 4, "as requested"),
        (many("", 4), "dark", "dark", 2, "as requested"),
    ],
)
def test_choice(scenes: list[Scene], wanted: str, pairing: str, taken: int, words: str) -> None:
    choice = choose_pairing(scenes, wanted)
    assert (choice.pairing, len(choice.scenes)) == (pairing, taken)
    assert len(choice.left_out) == len(scenes) - taken
    assert words in choice.reason


@pytest.mark.parametrize(
    ("scenes", "wanted", "message"),
    [
        (many("", 2), "gt", "needs a clean twin"),
        (many("", 2) + many("x", 1, 1), "burst", "needs two frames or more"),
        (many("flat", 2), "dark", "needs two dark frames"),
        (many("", 2), "guess", "not known; expected auto, gt, flat"),
        ([], "auto", "no scene"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(scenes: list[Scene], wanted: str, message: str) -> None:
    with pytest.raises(RawError, match=message):
        choose_pairing(scenes, wanted)


def test_folders_say_their_kind() -> None:
    names = {"darks": "dark", "ISO100_bias": "dark", "Flat-Frames": "flat", "darkroom": "", "flatiron": "", "a": ""}
    assert {name: kind_of(name) for name in names} == names


def test_ingest_says_what_it_found_and_leaves_out_what_moves(tmp_path: Path) -> None:
    for folder, signal in (("darks", np.zeros(SIZE)), ("scene", RAMP)):
        (tmp_path / "raws" / folder).mkdir(parents=True)
        for number, mosaic in enumerate(shoot([signal + 0] * 4, 3)):
            if folder == "scene" and number == 1:
                mosaic[:40, :40] += 300
            write_dng(tmp_path / "raws" / folder / f"{number}.dng", image(mosaic))
    options = IngestOptions(patch_size=16)
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", options)
    assert result.pairing == "burst"
    assert "--pairing dark" in result.reason
    assert 0 < result.masked < sum(result.patches.values())
    assert any("moves" in caution for caution in result.notes)
    result = ingest([tmp_path / "raws"], tmp_path / "d.h5", IngestOptions(patch_size=16, pairing="dark"))
    with PatchStore(tmp_path / "d.h5") as store:
        assert (store.pairing, store.scenes, result.frames) == ("dark", ("darks",), 4)


def emva_scenes(data: Path, kind: str, frames: int) -> list[Scene]:
    return [of for of in collect(data / EMVA).scenes if of.kind == kind and len(of.frames) == frames]


@pytest.mark.parametrize("name", ["burst", "dark"])
def test_real_dark_noise(shared_data: Path, name: str) -> None:
    """σ_dark 3.074 DN and row noise 0.504 DN of the real CCD, within 2 %."""
    (of,) = emva_scenes(shared_data, "dark", 50)
    reference, made = pairs(name, of)
    assert reference.facts["masked_pixels"] == 0
    errors = [unpack(noise(pair), "MONO") for pair in made]
    total = float(np.mean([np.mean(error**2) for error in errors]))
    rows = float(np.mean([np.mean(error.mean(1) ** 2) for error in errors])) - total / 640
    assert total**0.5 == pytest.approx(3.074, rel=0.02)
    assert rows**0.5 == pytest.approx(0.504, rel=0.02)


@pytest.mark.parametrize("name", ["burst", "flat"])
def test_real_flats(shared_data: Path, name: str) -> None:
    """Drift 0.94 DN and the temporal noise of the bright stack; nothing moves, nothing is defective."""
    (of,) = emva_scenes(shared_data, "flat", 50)
    reference, made = pairs(name, of)
    assert reference.facts["drift_dn"] == pytest.approx(0.94, rel=0.02)
    assert reference.facts["masked_pixels"] == 0
    # EMVA 1288 from the stack's first two frames, (y₁ − y₂ − drift)²/2: 23.51 DN.
    assert np.mean([np.mean(noise(pair) ** 2) for pair in made]) ** 0.5 == pytest.approx(23.51, rel=0.02)


@pytest.mark.parametrize(("kind", "name"), [("dark", "dark"), ("flat", "flat"), ("flat", "burst")])
def test_real_pairs_of_two_frames(shared_data: Path, kind: str, name: str) -> None:
    """Two-frame series: EMVA's own estimate to a part in a thousand; nothing masked but saturated levels."""
    for of in emva_scenes(shared_data, kind, 2)[:30:6]:
        reference, (pair,) = pairs(name, of)
        assert reference.facts["masked_pixels"] == 0
        first, second = (frame.read().mosaic.astype(np.float64) for frame in of.frames)
        # Plane by plane: from frame to frame even rows of this camera drift against odd ones.
        emva = np.mean(pack(first - second, "MONO").var((1, 2)) / 2) ** 0.5
        assert np.mean(noise(pair) ** 2) ** 0.5 == pytest.approx(emva, rel=0.001)


def test_lit_blocks_that_contradict_each_other_in_a_saturated_scene_give_no_drift() -> None:
    # Two blocks of sixteen count, and each is far off what the two say together.
    middles = np.zeros((4, 1, 4, 4))
    middles[:, 0, 0, :2] = [[100, -100], [-100, 100], [50, -50], [-50, 50]]
    variance = np.full((1, 4, 4), np.inf)
    variance[0, 0, :2] = 1.0
    drift = fit_drift(middles, np.full((1, 4, 4), 50.0), variance)
    assert not drift.flicker
    assert np.array_equal(drift.offsets, np.zeros((4, 1)))

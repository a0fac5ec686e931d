"""Folders of DNG flats and darks of a known sensor, and what can be wrong with them."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from skimage import io

from noiseflow.calibrate import calibrate, read_profile
from noiseflow.calibrate.profiles.published import from_noise_profile, from_sidd_nlf, shipped_profile
from noiseflow.calibrate.sources import _Series, _with_pairs, read_frames
from noiseflow.cli import main
from noiseflow.cli.data.calibrate import calibrate as command
from noiseflow.core.errors import DataError, OutputError
from noiseflow.raw import RawImage, read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.formats.emva import LISTING
from noiseflow.raw.settings import RawSettings

K, READ, BLACK, WHITE = 0.8, 5.0, 512.0, 4095.0
SIZE = (96, 128)
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.12, 0.16)


def frame(rng, signal, iso=100.0, exposure=0.01, model="Toy", size=SIZE, black=BLACK):
    gain = K * iso / 100
    dn = gain * rng.poisson(np.broadcast_to(signal, size) / gain) + READ * rng.standard_normal(size) + black
    codes = np.clip(np.rint(dn), 0, WHITE).astype(np.uint16)
    return RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, iso, exposure, "Acme", model)


def write(folder, name, image):
    folder.mkdir(exist_ok=True)
    write_dng(folder / f"{name}.dng", image, overwrite=True)


def series(folder, rng, iso=100.0, seconds=SECONDS, rate=20000.0, second=1.0):
    for exposure in seconds:
        for index in range(2):
            light = rate * exposure * (second if index else 1)
            write(folder / "flats", f"f{iso:g}_{exposure}_{index}", frame(rng, light, iso, exposure))
    for index in range(4):
        write(folder / "darks", f"d{iso:g}_{index}", frame(rng, 0.0, iso, 0.01))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("camera")
    rng = np.random.default_rng(11)
    for iso in (100.0, 200.0):
        series(path, rng, iso)
    return path


def test_flats_and_darks_of_two_isos(folder):
    profile = calibrate([folder]).profile
    assert profile.isos == (100.0, 200.0)
    for setting in profile.settings:
        gain, read = setting.estimates["gain_dn_per_e"], setting.estimates["read_noise_dn"]
        # 16 settings and quantities: four standard errors are a false alarm in a thousand.
        assert abs(gain.value - K * setting.iso / 100) < 4 * gain.standard_error
        assert abs(read.value - (READ**2 + 1 / 12) ** 0.5) < 4 * read.standard_error
        assert setting.value("black_dn") == pytest.approx(BLACK, abs=0.3)


def test_command_writes_the_profile_and_does_not_replace_it(folder, tmp_path):
    out = tmp_path / "camera.json"
    result = CliRunner().invoke(command, [str(folder), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "gain_dn_per_e" in result.output
    assert read_profile(out).camera == "Acme Toy"
    again = CliRunner().invoke(command, [str(folder), "--out", str(out)])
    assert isinstance(again.exception, OutputError)


def test_frames_of_two_cameras_are_named(tmp_path):
    rng = np.random.default_rng(0)
    series(tmp_path, rng)
    write(tmp_path / "flats", "zz", frame(rng, 100.0, model="Other"))
    with pytest.raises(DataError, match=r"its camera is Acme Other, but that of .* is Acme Toy"):
        calibrate([tmp_path])


def test_saturated_flats_are_named(tmp_path):
    series(tmp_path, np.random.default_rng(0), rate=1e7)
    with pytest.raises(DataError, match="saturated"):
        calibrate([tmp_path])


def test_flicker_is_named_and_does_not_bias_the_gain(tmp_path):
    series(tmp_path, np.random.default_rng(0), second=1.05)
    profile = calibrate([tmp_path]).profile
    for setting in profile.settings:
        assert any("flicker" in caution for caution in setting.cautions)
        gain = setting.estimates["gain_dn_per_e"]
        assert abs(gain.value - K) < 5 * gain.standard_error


def planes_saying(folder, words):
    settings = calibrate([folder]).profile.settings
    return sum(any(words in caution for caution in setting.cautions) for setting in settings), len(settings)


def test_a_clean_series_is_not_accused(folder):
    for words in (
        "not of one setting",
        "not of an even surface",
        "during the exposure",
        "of one exposure differ",
        "flicker",
    ):
        assert planes_saying(folder, words)[0] == 0, words


def test_frames_of_an_iso_under_another_label_are_named(tmp_path):
    rng = np.random.default_rng(0)
    series(tmp_path, rng)
    # Photons as before, twice the gain, the old label: as from a raw converter that lost the ISO.
    image = replace(frame(rng, 2 * 20000.0 * 0.04, 200.0, 0.04), iso=100.0)
    write(tmp_path / "flats", "f100_0.04_1", image)
    assert planes_saying(tmp_path, "not of one setting (mixed ISOs") == (4, 4)


def test_pairs_broken_by_a_change_of_iso_are_named(tmp_path):
    rng = np.random.default_rng(0)
    for index, exposure in enumerate(SECONDS):
        for iso in (100.0, 200.0):
            write(tmp_path / "flats", f"f{iso:g}_{index}", frame(rng, 20000.0 * exposure, iso, exposure))
    with pytest.raises(DataError, match="at least two flats of the same ISO and exposure time"):
        calibrate([tmp_path])


def test_flats_of_a_picture_are_named(tmp_path):
    rng = np.random.default_rng(0)
    series(tmp_path, rng)
    ramp = np.linspace(0.1, 2.0, SIZE[1])
    for index in range(2):
        write(tmp_path / "flats", f"f100_0.04_{index}", frame(rng, 800.0 * ramp, exposure=0.04))
    assert planes_saying(tmp_path, "not of an even surface") == (4, 4)


def test_flicker_within_an_exposure_is_named_and_taken_out(tmp_path):
    rng, size = np.random.default_rng(0), (256, 96)
    y = np.arange(size[0])[:, None]
    for index in range(4):
        write(tmp_path / "darks", f"d{index}", frame(rng, 0.0, size=size))
    for exposure in SECONDS:
        for index in range(2):
            # A lamp on mains current under a rolling shutter: bands whose phase changes from frame to frame.
            lamp = 1 + 0.04 * np.sin(2 * np.pi * (y / 24 + 0.37 * index + exposure))
            image = frame(rng, 20000.0 * exposure * lamp, exposure=exposure, size=size)
            write(tmp_path / "flats", f"f{exposure}_{index}", image)
    profile = calibrate([tmp_path]).profile
    for setting in profile.settings:
        assert any("flickers during the exposure" in caution for caution in setting.cautions)
        gain = setting.estimates["gain_dn_per_e"]
        # Without taking the rows out K is several times too high; 5 standard errors of four planes.
        assert abs(gain.value - K) < 5 * gain.standard_error
        assert gain.value == pytest.approx(K, rel=0.2)


def test_a_jump_between_darks_of_one_exposure_is_named(tmp_path):
    rng = np.random.default_rng(0)
    series(tmp_path, rng)
    write(tmp_path / "darks", "d100_4", frame(rng, 0.0, black=BLACK + 15))
    assert planes_saying(tmp_path, "of one exposure differ") == (4, 4)


def test_light_leak_in_a_dark_is_named(tmp_path):
    rng = np.random.default_rng(0)
    series(tmp_path, rng)
    write(tmp_path / "darks", "leak", frame(rng, 200.0, exposure=0.5))
    assert any("light leak" in caution for caution in calibrate([tmp_path]).profile.cautions)


def test_one_exposure_warns_that_linearity_is_unknown(tmp_path):
    series(tmp_path, np.random.default_rng(0), seconds=(0.05,))
    for setting in calibrate([tmp_path]).profile.settings:
        assert any("1 level" in caution for caution in setting.cautions)
        assert setting.estimates["gain_dn_per_e"].standard_error > 0


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="no raw frames"):
        calibrate([tmp_path])


def test_noise_profile_tag_makes_a_profile(tmp_path):
    rng = np.random.default_rng(0)
    span = WHITE - BLACK
    write_dng(tmp_path / "a.dng", frame(rng, 100.0), noise_profile=[(K / span, (READ / span) ** 2)])
    profile = from_noise_profile([read_raw(tmp_path / "a.dng")])
    for setting in profile.settings:
        assert setting.value("gain_dn_per_e") == pytest.approx(K)
        assert setting.value("read_noise_dn") == pytest.approx(READ)


def test_sidd_table_makes_a_profile(shared_data):
    profile = from_sidd_nlf(shared_data / "params" / "cam_iso_nlf.txt", "S6", 0.0, 1023.0)
    assert profile.isos == (100.0, 400.0, 800.0, 1600.0, 3200.0)
    assert profile.at(100.0, "R").value("gain_dn_per_e") == pytest.approx(0.000479 * 1023)


def test_a_missing_sidd_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: no such file; expected a SIDD noise-level table"):
        from_sidd_nlf(tmp_path / "none.txt", "S6", 0.0, 1023.0)


def test_the_shipped_a7s2_has_28_isos():
    profile = shipped_profile("Sony A7S2")
    assert len(profile.isos) == 28
    assert profile.at(100.0, "B").value("gain_dn_per_e") == 0.09563


@pytest.mark.parametrize("kind", ["flats", "darks"])
def test_a_master_frame_among_the_others_is_refused(tmp_path, kind):
    """The mean of two flats beside them halved K, and the mean of the darks took 2.5 % from the read noise."""
    series(tmp_path, np.random.default_rng(3), seconds=SECONDS[:3])
    prefix = {"flats": f"f100_{SECONDS[1]}_", "darks": "d100_"}[kind]
    images = [read_raw(path) for path in sorted((tmp_path / kind).glob(f"{prefix}*.dng"))]
    mean = np.rint(np.mean([image.mosaic for image in images], axis=0)).astype(np.uint16)
    write(tmp_path / kind, f"{prefix}master", replace(images[0], mosaic=mean))
    with pytest.raises(
        DataError, match=rf"{prefix}master\.dng has 0\.?\d* times the noise variance of the other frames"
    ):
        calibrate([tmp_path])


@dataclass
class Light:
    """Frames of a series, of which only the time and the number count here."""

    time: float
    reads: list[Any]
    sums: list[Any] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def one_time(self, other: "Light") -> bool:
        return self.time == other.time

    def add(self, image: Any, read: Any) -> None:
        self.sums.append(image)
        self.reads.append(read)


def test_single_frames_of_a_time_are_one_series_and_others_stay_as_they_are() -> None:
    def reads(*values: int) -> list[Any]:
        return [lambda value=value: value for value in values]

    single, other, pair, alone = Light(1, reads(1)), Light(1, reads(2, 3)), Light(2, reads(4, 5)), Light(3, reads(6))
    twin = Light(2, reads(7, 8))
    found = _with_pairs([single, pair, other, twin, alone])  # type: ignore[list-item]
    assert [(each.time, [read() for read in each.reads]) for each in found] == [  # type: ignore[attr-defined]
        (1, [1, 2, 3]),
        (2, [4, 5]),
        (2, [7, 8]),
        (3, [6]),
    ]
    assert found[0].sums == [1, 2, 3]


def test_levels_of_one_exposure_and_iso_are_counted_and_no_others(tmp_path):
    """Of a lamp with two settings; another ISO, another time and a dark begin anew."""
    rng = np.random.default_rng(4)
    taken = [
        (100.0, 0.01, 300.0),
        (100.0, 0.02, 600.0),
        (100.0, 0.02, 2000.0),
        (200.0, 0.02, 700.0),
        (100.0, 0.02, 0.0),
    ]
    for number, (iso, exposure, light) in enumerate(taken):
        for index in range(2):
            write(tmp_path / "all", f"{number}_{index}", frame(rng, light, iso, exposure))
    groups = read_frames([tmp_path / "all"]).groups
    found = sorted((each.iso, round(each.exposure_s, 6), each.dark, each.light) for each in groups)
    assert found == [
        (100.0, 0.01, False, 0),
        (100.0, 0.02, False, 0),
        (100.0, 0.02, False, 1),
        (100.0, 0.02, True, 0),
        (200.0, 0.02, False, 0),
    ]


@pytest.fixture
def emva(tmp_path):
    """A data set of the standard, which knows no ISO: a dark pair, and pairs of rising light."""
    rng, lines = np.random.default_rng(7), ["n 12 128 96"]
    for index, electrons in enumerate((0, *np.linspace(100, 4000, 10))):
        lines.append(f"b {1000 * index} {electrons}" if index else "d 1000")
        for half in "ab":
            (tmp_path / "set").mkdir(exist_ok=True)
            io.imsave(tmp_path / "set" / f"{index}{half}.png", frame(rng, K * electrons).mosaic, check_contrast=False)
            lines.append(f"i {index}{half}.png")
    (tmp_path / "set" / LISTING).write_text("\n".join(lines))
    return tmp_path / "set"


def test_a_camera_without_an_iso_is_given_none(emva, tmp_path):
    """Models need a number; profile, page and answers call it nominal."""
    out, page = tmp_path / "ccd.json", tmp_path / "ccd.html"
    found = CliRunner().invoke(main, ["calibrate", str(emva), "--out", str(out), "--report", str(page)])
    assert found.exit_code == 0, found.output
    assert f"{emva}: states no ISO; its one gain is filed under ISO 100" in " ".join(found.stderr.split())
    described = CliRunner().invoke(main, ["info", str(out)]).stdout
    for text in (found.stdout, described, re.sub("<p class=.caution.*</p>", "", page.read_text("utf-8"))):
        assert "nominal ISO 100" in text
        assert "ISO 100" not in text.replace("nominal ISO 100", "")
    image = read_frames([emva]).groups[0].reads[0]()
    assert dict(image.taken_from)["iso"].startswith("nominal")


def test_an_iso_that_the_user_gives_is_its_own(emva, tmp_path):
    out = tmp_path / "ccd.json"
    found = CliRunner().invoke(main, ["calibrate", str(emva), "--iso", "400", "--out", str(out)])
    assert found.exit_code == 0, found.output
    assert "nominal" not in out.read_text("utf-8") + found.output
    assert "ISO 400, plane Y (measured):" in found.stdout
    assert "states no ISO" not in found.output


def test_frames_of_a_listing_have_its_light_and_the_black_of_its_darks_or_the_user_s(emva):
    """The listing counts nanoseconds and photons; a pair is no long stack for DSNU."""
    frames = read_frames([emva])
    dark = np.mean([io.imread(emva / f"0{half}.png") for half in "ab"])
    assert frames.black == (pytest.approx(dark),)
    assert read_frames([emva], settings=RawSettings(black=(7.0,))).black == (7.0,)
    assert [each.dark for each in frames.groups] == [True, *[False] * 10]
    assert [each.exposure for each in frames.groups[1:]] == pytest.approx(np.linspace(100, 4000, 10))
    assert [each.exposure_s for each in frames.groups] == pytest.approx([1e-6, *1e-6 * np.arange(1, 11)])
    assert not any(each.spatial for each in frames.groups)


def test_three_frames_of_a_listing_s_light_are_for_its_patterns(emva):
    rng, listing = np.random.default_rng(8), (emva / LISTING).read_text()
    io.imsave(emva / "5c.png", frame(rng, K * 1800.0).mosaic, check_contrast=False)
    (emva / LISTING).write_text(listing.replace("i 5b.png", "i 5b.png\ni 5c.png"))
    assert [each.spatial for each in read_frames([emva]).groups] == [index == 5 for index in range(11)]


def shot(exposure: float | None, level: float, *, dark: bool = False, iso: float = 100.0) -> _Series:
    return _Series(iso, exposure, level, dark, WHITE, (BLACK,) * 4)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (shot(0.1, 500.0), shot(0.0991, 500.0), True),
        (shot(0.1, 500.0), shot(0.0989, 500.0), False),
        (shot(0.1, 0.0, dark=True), shot(0.0991, 90.0, dark=True), True),
        (shot(0.1, 0.0, dark=True), shot(0.0989, 0.0, dark=True), False),
        (shot(None, 1000.0), shot(None, 981.0), True),
        (shot(None, 1000.0), shot(None, 979.0), False),
        (shot(None, 0.0, dark=True), shot(None, 90.0, dark=True), True),
        (shot(None, 500.0), shot(0.1, 500.0), False),
        (shot(0.1, 500.0), shot(0.1, 500.0, iso=200.0), False),
        (shot(0.1, 5.0), shot(0.1, 5.0, dark=True), False),
    ],
)
def test_frames_are_of_one_setting_by_their_time_or_without_one_by_their_level(first, second, same):
    """Times within 1 % of each other, levels within 2 %; darks whatever their level."""
    assert first.takes(second) is same
    assert second.takes(first) is same


@pytest.mark.parametrize(("exposure", "light"), [(0.02, 0.02), (None, 600.0)])
def test_frames_without_a_time_have_their_level_for_their_light(exposure: float | None, light: float) -> None:
    rng = np.random.default_rng(2)
    series = shot(exposure, 600.0)
    for _ in range(2):
        series.add(frame(rng, 600.0, exposure=exposure), lambda: None)
    group = series.group()
    assert (group.exposure, group.exposure_s, group.timed) == (light, exposure or 0.0, exposure is not None)

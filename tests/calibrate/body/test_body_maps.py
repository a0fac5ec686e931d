"""Maps of a body whose pattern is known, found, stored, taken out and put back."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from builders import write_dng
from click.testing import CliRunner

from noiseflow.augment import sample_frame
from noiseflow.augment.body_pattern import body_pattern
from noiseflow.calibrate.body.body_file import read_body, write_body
from noiseflow.calibrate.body.body_maps import BodyMaps
from noiseflow.calibrate.body.measure_maps import measure_maps
from noiseflow.calibrate.sources import read_frames
from noiseflow.cli import main
from noiseflow.core.errors import DataError, OutputError
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.likelihood_objective import mean_nll
from noiseflow.models.model import ModelSpec, build
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.assembly.store_with_body import StoreWithBody
from noiseflow.raw.image import RawImage

SIZE, BLACK, WHITE, GAIN, SIGMA = (96, 128), 64, 4095, 1.0, 3.0
HOT = ((10, 20), (31, 47), (60, 101))


def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dark pattern in DN, current in DN/s and gain of each pixel."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] / max(SIZE)
    dark = 2.0 * np.cos(3 * x) * y + rng.normal(0, 0.5, (SIZE[0], 1)) + rng.normal(0, 0.7, SIZE)
    for place in HOT:
        dark[place] += 40.0
    current = np.abs(rng.normal(0, 2.0, SIZE))
    gain = 1 + rng.normal(0, 0.01, SIZE)
    for row in (0, 1):
        for column in (0, 1):
            place = (slice(row, None, 2), slice(column, None, 2))
            dark[place] -= dark[place].mean()
            current[place] -= current[place].mean()
    return dark, current, gain


def shoot(signal: float | np.ndarray, exposure_s: float, seed: int) -> RawImage:
    """A frame of the body."""
    rng = np.random.default_rng(seed)
    dark, current, gain = planted()
    light = np.broadcast_to(np.asarray(signal, np.float64), SIZE) * gain
    values = BLACK + GAIN * rng.poisson(light / GAIN) + dark + exposure_s * current + rng.normal(0, SIGMA, SIZE)
    codes = np.clip(np.rint(values), 0, WHITE).astype(np.uint16)
    return RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, iso=400, exposure_s=exposure_s, make="Test", model="Body")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Darks of two exposure times, and flats."""
    root = tmp_path_factory.mktemp("body")
    for name, signal, exposure_s, count in (("dark_a", 0, 0.01, 12), ("dark_b", 0, 2.0, 12), ("flat", 1500, 0.02, 12)):
        (root / name).mkdir()
        for number in range(count):
            write_dng(root / name / f"{number:03}.dng", shoot(signal, exposure_s, round(1e4 * exposure_s) + number))
    return root


@pytest.fixture(scope="module")
def body(folder: Path) -> BodyMaps:
    return measure_maps(read_frames([folder / "dark_a", folder / "dark_b", folder / "flat"]))


def test_the_planted_pattern_is_found_to_its_stated_error(body: BodyMaps) -> None:
    dark, current, gain = planted()
    (found,) = body.darks
    for value, truth, error in (
        (found.at(0.01), dark + 0.01 * current, SIGMA / 12**0.5),
        (found.at(2.0), dark + 2 * current, SIGMA / 12**0.5),
        (found.offset, dark, found.offset_error),
        (found.current, current, found.current_error),
    ):
        assert value is not None
        departure = value - truth
        # 12,288 pixels: the standard deviation is known to 0.6 %; rounding and the planes' means add a little.
        assert departure.std() == pytest.approx(error, rel=0.05)
    assert found.noise == pytest.approx((SIGMA**2 + 1 / 12) ** 0.5, rel=0.02)
    assert body.gain is not None
    # The mean over the window takes 1/33² and the noise of its pixels.
    assert (body.gain.gain - gain).std() == pytest.approx(body.gain.error, rel=0.1)
    assert body.gain.prnu == pytest.approx(0.01, rel=0.05)


def test_hot_pixels_are_found_and_no_others(body: BodyMaps) -> None:
    mask = body.defect_mask
    assert all(mask[place] for place in HOT)
    # The long exposure's own warm pixels are many σ off too.
    current = planted()[1]
    assert all(2 * current[y, x] > 3.5 or (y, x) in HOT for y, x in zip(*np.nonzero(mask), strict=True))


def test_even_darks_have_no_hot_pixels_and_telegraph_ones_are_listed(tmp_path: Path) -> None:
    y, x = 40, 51
    for number in range(12):
        rng = np.random.default_rng(number)
        codes = np.rint(BLACK + rng.normal(0, SIGMA, SIZE)).astype(np.uint16)
        codes[y, x] = BLACK + 25 * (number % 3 == 0)
        write_dng(
            tmp_path / f"dark_{number:03}.dng",
            RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, iso=100, exposure_s=0.01, make="Test", model="Body"),
        )
    found = measure_maps(read_frames([tmp_path]))
    # 1 or 2 in a million of 12,288 normal pixels, and the planted one, which is hot on average too.
    assert found.counts() == {"hot": 1, "telegraph": 1}
    assert (y, x) == tuple(found.defects[0, :2])
    assert found.gain is None
    assert found.darks[0].frames_for(found.darks[0].offset_error / 2) == 48


def test_a_file_keeps_all_and_a_changed_one_is_refused(body: BodyMaps, tmp_path: Path) -> None:
    write_body(body, tmp_path / "b.h5")
    found = read_body(tmp_path / "b.h5")
    np.testing.assert_array_equal(found.darks[0].offset, body.darks[0].offset)
    np.testing.assert_array_equal(found.defects, body.defects)
    assert found.gain is not None
    assert body.gain is not None
    np.testing.assert_array_equal(found.gain.gain, body.gain.gain)
    assert (found.camera, found.cfa, found.isos) == (body.camera, body.cfa, body.isos)
    assert found.darks[0].exposures_s == body.darks[0].exposures_s
    with pytest.raises(OutputError):
        write_body(body, tmp_path / "b.h5")
    with h5py.File(tmp_path / "d.h5", "w") as other, h5py.File(tmp_path / "b.h5") as file:
        for name in file:
            if name != "gain":
                file.copy(name, other)
        other.attrs.update(file.attrs)
        other["gain"] = h5py.ExternalLink("b.h5", "/gain")
    # The same values and checksum, but from another file.
    with pytest.raises(DataError, match="'gain' is a link or missing"):
        read_body(tmp_path / "d.h5")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["gain"][0, 0] += 0.5
    with pytest.raises(DataError, match="the body maps are damaged"):
        read_body(tmp_path / "b.h5")
    (tmp_path / "c.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match="the body maps are damaged"):
        read_body(tmp_path / "c.h5")


def test_a_clean_twin_gets_the_pattern_and_the_noise_is_temporal_again(body: BodyMaps, tmp_path: Path) -> None:
    scene = np.linspace(0, 50, SIZE[1]) * np.ones(SIZE)
    for name in ("noisy", "clean"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for number in range(4):
        write_dng(tmp_path / "set" / "noisy" / f"{number}.dng", shoot(scene, 2.0, 900 + number))
        clean = replace(shoot(0, 2.0, 0), mosaic=np.rint(BLACK + scene).astype(np.uint16))
        write_dng(tmp_path / "set" / "clean" / f"{number}.dng", clean)
    write_body(body, tmp_path / "b.h5")
    variances = {}
    for name, maps in (("without", None), ("with", str(tmp_path / "b.h5"))):
        options = IngestOptions(patch_size=16, pairing="gt", body=maps)
        ingest([tmp_path / "set"], tmp_path / f"{name}.h5", options)
        with PatchStore(tmp_path / f"{name}.h5") as store:
            batch = store.read(np.arange(len(store)))
            weight = (WHITE - BLACK) ** 2 / (GAIN * batch.clean * (WHITE - BLACK) + SIGMA**2 + 1 / 12)
            values = batch.noise.square() * weight
            seen = values if batch.observed is None else values[batch.observed]
            variances[name] = float(seen.mean())
            assert (batch.observed is not None) == (maps is not None)
    with StoreWithBody(tmp_path / "without.h5", tmp_path / "b.h5") as late, PatchStore(tmp_path / "with.h5") as early:
        rows = np.arange(len(early))
        one, other = late.read(rows), early.read(rows)
        torch.testing.assert_close(one.clean, other.clean, rtol=0, atol=1e-6)
        torch.testing.assert_close(one.noise, other.noise, rtol=0, atol=1e-6)
        assert one.observed is not None
        assert other.observed is not None
        assert torch.equal(one.observed, other.observed)
        assert late.has_masks
        assert late.fingerprint != early.fingerprint
        assert late.gaps == ("body of Test Body: its darks are of ISO 400 only; frames of another ISO are refused",)
    write_body(replace(body, defects=body.defects[:0]), tmp_path / "whole.h5")
    with StoreWithBody(tmp_path / "without.h5", tmp_path / "whole.h5") as whole:
        assert not whole.has_masks
    with pytest.raises(DataError, match="was already ingested with body maps"):
        StoreWithBody(tmp_path / "with.h5", tmp_path / "b.h5")
    assert body.gain is not None
    for name, size in (("narrow", (SIZE[0] + 8, SIZE[1] - 32)), ("low", (SIZE[0] - 32, SIZE[1] + 8))):
        odd = replace(body, darks=(), gain=replace(body.gain, gain=np.ones(size, np.float32)))
        write_body(replace(odd, defects=body.defects[:0]), tmp_path / f"{name}.h5")
        with pytest.raises(DataError, match="another camera, mode or crop"):
            StoreWithBody(tmp_path / "without.h5", tmp_path / f"{name}.h5")
    with PatchStore(tmp_path / "with.h5") as store:
        model = fit(store, spec_for(store, "nlf"), tmp_path / "run", FitSettings(epochs=1)).model
        expected = mean_nll(model, store, store.indices("test"))
    paths = [str(tmp_path / name) for name in ("run", "without.h5", "b.h5", "report")]
    done = CliRunner().invoke(main, ["evaluate", *paths[:2], "--body", paths[2], "--out", paths[3], "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    found = report["scores"]["likelihood"]["cells"][0]["nats_per_dim"][report["models"][0]]["value"]
    assert found == pytest.approx(expected, abs=1e-4)
    # What is left of the pattern is the maps' own error, σ²/12 or less.
    assert variances["without"] > 1.2
    assert variances["with"] == pytest.approx(1.0 + 0.7 / 12, abs=0.03)


def test_sample_puts_the_pattern_back(body: BodyMaps) -> None:
    model = build(ModelSpec("nlf", cameras=("Test Body",), isos=(400.0,)))
    frame = replace(shoot(0, 2.0, 0), mosaic=np.full(SIZE, BLACK + 800, np.uint16))
    pattern = body_pattern(body, frame, None, "bayer")
    with_it = sample_frame(model, frame, seed=1, pattern=pattern).signal * (WHITE - BLACK)
    without = sample_frame(model, frame, seed=1).signal * (WHITE - BLACK)
    assert body.gain is not None
    expected = 800 * (body.gain.gain - 1) + body.dark_at(400, 2.0)
    from noiseflow.raw.bayer import pack

    # The noise changes a little with the signal of each pixel, by PRNU.
    assert (with_it - without - pack(expected, "RGGB")).std() < 0.05 * expected.std()
    with pytest.raises(DataError, match="no dark map of ISO 800; its ISOs are: 400"):
        body_pattern(body, frame, 800, "bayer")
    with pytest.raises(DataError, match="depends on the exposure time, and the frame states none"):
        body_pattern(body, replace(frame, exposure_s=None), None, "bayer")
    with pytest.raises(DataError, match="another camera, mode or crop"):
        body_pattern(body, replace(frame, mosaic=frame.mosaic[:-2]), None, "bayer")


def test_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    darks = [str(folder / name) for name in ("dark_a", "dark_b", "flat")]
    done = run(main, ["calibrate", *darks, "--out", str(tmp_path / "c.json"), "--maps", str(tmp_path / "b.h5")])
    assert done.exit_code == 0, done.output
    assert "frames would reduce it to a third of the pattern" in done.output
    told = run(main, ["info", str(tmp_path / "b.h5")])
    assert told.exit_code == 0
    assert "body maps" in told.output
    again = run(main, ["calibrate", *darks, "--out", str(tmp_path / "d.json"), "--maps", str(tmp_path / "b.h5")])
    assert again.exit_code == 1
    assert not (tmp_path / "d.json").exists()


def test_what_cannot_give_maps_is_refused(folder: Path, tmp_path: Path) -> None:
    files = [str(each) for each in sorted((folder / "flat").glob("*.dng"))]
    for sources in (files[:1], files[:3], files):
        named = ["calibrate", *sources, "--out", str(tmp_path / "c.json"), "--maps", str(tmp_path / "b.h5")]
        done = CliRunner().invoke(main, named)
        assert done.exit_code == 1
        assert not list(tmp_path.glob("*.*"))


def test_what_the_maps_do_not_know_is_said(body: BodyMaps, folder: Path, tmp_path: Path) -> None:
    one_time = measure_maps(read_frames([folder / "dark_a"]))
    write_body(one_time, tmp_path / "b.h5")
    write_dng(tmp_path / "clean.dng", replace(shoot(0, 2.0, 0), mosaic=np.full(SIZE, BLACK + 800, np.uint16)))
    assert body.gaps(400, 1.0) == [
        "body of Test Body: its darks are of ISO 400 only; frames of another ISO are refused"
    ]
    assert "extrapolated" in body.gaps(400, 30.0)[1]
    assert "taken to be that of the darks of 0.01 s" in one_time.gaps(400, None)[1]
    clean, maps, noisy = (str(tmp_path / name) for name in ("clean.dng", "b.h5", "noisy.dng"))
    named = ["sample", "Sony A7S2", clean, "--camera", "Sony A7S2", "--body", maps, "--out", noisy]
    run = CliRunner().invoke(main, named)
    assert run.exit_code == 0, run.output
    for words in ("of 0.01 s only: the change of the pattern at 2 s is not corrected", "no map of the photo response"):
        assert words in run.stderr, run.stderr


def test_darks_of_no_known_time_are_no_darks_of_0_s(folder: Path) -> None:
    frames = read_frames([folder / "dark_a", folder / "dark_b", folder / "flat"])
    whole = measure_maps(frames)
    for group in frames.groups:
        if group.dark and group.exposure_s > 1:
            group.timed, group.exposure_s = False, 0.0
    mixed = measure_maps(frames)
    assert whole.darks[0].current is not None
    # As if they were at 0 s, the pattern of two seconds would fall with the time.
    assert mixed.darks[0].current is None
    assert mixed.darks[0].exposures_s == pytest.approx((0.01,))
    assert mixed.darks[0].frames == 12
    assert mixed.summary()[-1].startswith("left out, because they state no exposure time and others do: 12 dark frames")
    for group in frames.groups:
        group.timed = False
    without = measure_maps(frames)
    assert without.darks[0].exposures_s == ()
    assert "no exposure time" in without.gaps(400, 1.0)[1]


def test_without_darks_there_are_no_maps(folder: Path) -> None:
    with pytest.raises(DataError, match="two dark frames"):
        measure_maps(read_frames([folder / "flat"]))

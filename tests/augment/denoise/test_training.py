from pathlib import Path

import numpy as np
import pytest
import torch
from builders import frame
from click.testing import CliRunner
from PIL import Image
from small_denoiser import network, ramp

from noiseflow.augment.denoise.export import export_photo_denoiser
from noiseflow.augment.denoise.files import load_photo_denoiser
from noiseflow.augment.denoise.network import PhotoDenoiserSpec
from noiseflow.augment.denoise.shipped import shipped_denoiser
from noiseflow.augment.denoise.training.cameras import DrawnCameras, NoisyCrops, add_noise, camera_table, draw_cameras
from noiseflow.augment.denoise.training.drawn import HELD_OUT_SEED, held_out_cameras
from noiseflow.augment.denoise.training.modelled import modelled_crops, of_pictures
from noiseflow.augment.denoise.training.pictures import (
    HELD_OUT,
    TRAINED_ON,
    clean_crops,
    leaves,
    pictures_in,
    skimage_picture,
)
from noiseflow.augment.denoise.training.sources import trained_on
from noiseflow.augment.denoise.training.train import DenoiserSettings, train_photo_denoiser
from noiseflow.cli import main
from noiseflow.core.errors import DataError, ModelError
from noiseflow.models import ModelSpec, build
from noiseflow.raw.formats.dng import write_dng


def cameras(**changed: float) -> DrawnCameras:
    """One camera of 14 bits; what is not said is 0."""
    values = dict.fromkeys(DrawnCameras.__dataclass_fields__, 0.0)
    values |= {"electrons": 2000.0, "step": 1 / 2**14, "floor": -1 / 31, "shape": 0.1, **changed}
    return DrawnCameras(**{name: torch.full((1, 1, 1, 1), value) for name, value in values.items()})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("part", ["sigma", "row", "drift", "column", "dark", "step"])
def test_the_told_line_is_the_variance(part: str) -> None:
    """Of 64 flats; 4.5 standard errors, the largest that of 64 × 96 drifting rows in strips of 16."""
    sigma = 0.004
    scale = sigma / 1.6493  # Standard deviation of Tukey's lambda of shape 0.1 and scale 1.
    made = cameras(
        **({"sigma": sigma, "scale": scale} if part == "sigma" else {part: sigma * (8 if part == "step" else 1)})
    )
    flat = torch.full((64, 4, 48, 48), 0.25)
    crops = add_noise(flat, made, generator(), jitter=0.0)
    slope, offset = made.line()
    expected = float(slope * 0.25 + offset)
    assert float((crops.noisy - flat).var()) == pytest.approx(expected, rel=0.1)
    torch.testing.assert_close(crops.slope.expand(64, 4, 1, 1), slope.expand(64, 4, 1, 1))


def test_lines_are_shared_by_the_planes_of_a_row() -> None:
    made = cameras(electrons=1e9, row=0.01, step=1e-6)
    noise = add_noise(torch.full((1, 4, 20, 30), 0.3), made, generator(), jitter=0.0).noisy[0] - 0.3
    torch.testing.assert_close(noise[0], noise[1], atol=2e-4, rtol=0)
    torch.testing.assert_close(noise[2], noise[3], atol=2e-4, rtol=0)
    assert float((noise[0] - noise[2]).abs().mean()) > 1e-3


def test_cameras_are_drawn_from_the_prior_and_none_is_shared() -> None:
    table = camera_table(0, 32)
    held_out = camera_table(HELD_OUT_SEED, 32)
    assert bool((table > [10, 0, 0, -1]).all())
    assert not set(table[:, 0]) & set(held_out[:, 0])
    plain = draw_cameras(np.random.default_rng(0), 64, table, ())
    assert all(
        float(each.abs().max()) == 0 for each in (plain.row, plain.column, plain.dark, plain.hot, plain.response)
    )
    every = draw_cameras(np.random.default_rng(0), 64, table)
    assert all(float(each.abs().max()) > 0 for each in (every.row, every.column, every.dark, every.hot, every.response))


def test_pictures_are_clean_planes_and_some_are_held_out() -> None:
    assert not set(TRAINED_ON) & set(HELD_OUT)
    draw = clean_crops(("coins", "chelsea"), 0, 1)
    crops = draw(np.random.default_rng(0), 6, 24)
    assert crops.shape == (6, 4, 24, 24)
    assert 0 <= float(crops.min()) <= float(crops.max()) <= 1
    torch.testing.assert_close(crops, draw(np.random.default_rng(0), 6, 24))
    fallen = leaves(np.random.default_rng(0), [skimage_picture("coffee")], 64, 40)
    assert fallen.shape == (3, 64, 64)
    assert fallen.std() > 0.02


def tiny(source_seed: int = 0) -> tuple[object, DenoiserSettings]:
    draw, table = clean_crops(("coins",), 0, 0), camera_table(source_seed, 8)

    def crops(rng: np.random.Generator, noise: torch.Generator, count: int) -> NoisyCrops:
        return add_noise(draw(rng, count, 16), draw_cameras(rng, count, table), noise)

    return crops, DenoiserSettings(steps=8, batch=2, side=16, validations=4, held_out=2, warmup=2, state_seconds=0)


SPEC = PhotoDenoiserSpec((4, 8), 1)


@pytest.mark.parametrize("name", ["steps", "batch", "side", "validations", "held_out"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: expected 1 or more; got 0"):
        DenoiserSettings(**{name: 0})


def test_a_stopped_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    crops, settings = tiny()
    whole = train_photo_denoiser(crops, crops, tmp_path / "whole", settings, start=SPEC)  # type: ignore[arg-type]

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_photo_denoiser(crops, crops, tmp_path / "run", settings, start=SPEC, progress=stop)  # type: ignore[arg-type]
    again = train_photo_denoiser(crops, crops, tmp_path / "run", settings, start=SPEC, resume=True)  # type: ignore[arg-type]
    assert (again.steps, again.error) == (whole.steps, whole.error)
    for one, other in zip(whole.model.parameters(), load_photo_denoiser(tmp_path / "run").parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_training_begins_with_the_given_network_and_leaves_it_alone(tmp_path: Path) -> None:
    crops, settings = tiny()
    start = network()
    before = [each.clone() for each in start.parameters()]
    result = train_photo_denoiser(crops, crops, tmp_path / "run", settings, start=start)  # type: ignore[arg-type]
    assert result.error < result.start_error
    assert result.model.spec == start.spec
    assert all(torch.equal(one, other) for one, other in zip(before, start.parameters(), strict=True))


def test_noise_of_a_model_has_the_line_that_is_told() -> None:
    model = build(ModelSpec("nlf", cameras=("A", "B"), isos=(100.0, 800.0)))
    flat = of_pictures(lambda rng, count, side: torch.full((count, 4, side, side), 0.3), model.spec, 48)
    crops = modelled_crops(model, flat, jitter=0.0)(np.random.default_rng(0), generator(), 16)
    expected = (crops.slope * crops.clean + crops.offset)[:, :, 0, 0]
    found = (crops.noisy - crops.clean).flatten(2).var(2)
    # 2,304 pixels each: the relative standard error is 3 %.
    torch.testing.assert_close(found, expected, rtol=0.14, atol=0)
    with pytest.raises(ModelError, match="'mono' planes"):
        modelled_crops(build(ModelSpec("nlf", "mono")), flat)


def test_the_command_trains_and_its_run_denoises_and_exports(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    grey = np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "pictures" / "a.png")
    write_dng(tmp_path / "shot.dng", frame(ramp(), noise_profile=((8e-4, 1e-5),)))
    words = ["train-denoiser", "--model", "sony-a7s2", "--pictures", tmp_path / "pictures", "--steps", 2]
    words += ["--batch", 1, "--side", 16, "--out", tmp_path / "run"]
    for command in (
        words,
        ["denoise", tmp_path / "run", tmp_path / "shot.dng", "--out", tmp_path / "out.dng"],
        ["export", tmp_path / "run", tmp_path / "net.pt2"],
        ["info", tmp_path / "run"],
    ):
        result = CliRunner().invoke(main, [str(word) for word in command])
        assert result.exit_code == 0, result.output
    assert "photo denoiser" in result.output
    noisy_planes = torch.rand(2, 4, 16, 24, generator=generator())
    line = torch.full((2, 4, 1, 1), 1e-3)
    inputs = (noisy_planes, line, line, -line)
    made = load_photo_denoiser(tmp_path / "run")
    torch.testing.assert_close(torch.export.load(tmp_path / "net.pt2").module()(*inputs), made(*inputs).detach())


@pytest.mark.slow
def test_the_graph_of_onnx_is_the_network(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made = network()
    path = export_photo_denoiser(made, tmp_path / "net.onnx")
    line = torch.rand(3, 4, 1, 1, generator=generator(1)) * 1e-3 + 1e-5
    values = {
        "noisy": torch.rand(3, 4, 32, 40, generator=generator()),
        "slope": line,
        "offset": 0.1 * line,
        "floor": -line,
    }
    (found,) = runtime.InferenceSession(str(path)).run(None, {name: each.numpy() for name, each in values.items()})
    np.testing.assert_allclose(found, made(*values.values()).detach().numpy(), atol=2e-6)


def test_what_to_train_on_is_clear(tmp_path: Path) -> None:
    model = build(ModelSpec("nlf"))
    with pytest.raises(DataError, match="not both"):
        trained_on(16, model, frames=tmp_path, pictures=tmp_path)
    with pytest.raises(DataError, match="need a noise model"):
        trained_on(16, pictures=tmp_path)
    with pytest.raises(DataError, match="contains no picture"):
        pictures_in(tmp_path, 16)
    (tmp_path / "a.png").write_bytes(b"none")
    with pytest.raises(DataError, match="cannot be read as a picture"):
        pictures_in(tmp_path, 16)


def test_the_shipped_network_is_small_and_denoises_what_it_has_not_seen() -> None:
    made = shipped_denoiser()
    assert sum(each.numel() for each in made.parameters()) < 400_000
    crops = held_out_cameras(48)(np.random.default_rng(0), generator(), 24)
    with torch.no_grad():
        found = made(crops.noisy, crops.slope, crops.offset, crops.floor)
        wrong = made(crops.noisy, 0.25 * crops.slope, 0.25 * crops.offset, crops.floor)
    sigma = (crops.slope * crops.clean + crops.offset).sqrt()
    error, told_half, noisy = (
        float(((each - crops.clean) / sigma).clamp(-5, 5).square().mean()) for each in (found, wrong, crops.noisy)
    )
    assert error < 0.3 * noisy
    assert error < 0.8 * told_half

"""Samples of a sequence: their covariance, and the same bits alone, in a batch, in tiles and as a stream."""

import numpy as np
import pytest
import torch
from temporal_models import LINEAR, covariance_of, temporal_model
from torch import Tensor

from noiseflow.augment.frames.tiles import FrameNoise
from noiseflow.augment.frames.windows import Window
from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import from_profile, temporal_spec
from noiseflow.models.model import ModelSpec, build
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.stream import Innovations, Memory, Traps
from noiseflow.ops.random.sampling import Keyed, Source

FRAMES = ["nlf", "gaussian", "physics_flow", "noise_flow"]


def clean_frames(frames: int, planes: int = 4, size: tuple[int, int] = (9, 11)) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(2, frames, planes, *size, generator=draw, dtype=torch.float64)


def test_samples_have_the_covariance_of_the_physics() -> None:
    """Of 40,000 sequences; each of 1,296 entries within 5 of its standard errors (chance 1e-3 in all)."""
    model = temporal_model(LINEAR)
    count, frames = 40_000, 3
    clean = torch.rand(frames, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    source = torch.Generator().manual_seed(5)
    noise = model.sample_sequence(clean.expand(count, -1, -1, -1, -1), 100.0, 0, source).flatten(1).numpy()
    cond = Conditions(clean[:1], 100.0, 0).resolve(model.cameras)
    expected = covariance_of(model, clean.flatten(1), cond)
    found = noise.T @ noise / count
    own = np.diag(expected)
    error = np.sqrt((np.outer(own, own) + expected**2) / count)
    assert float(np.abs((found - expected) / error).max()) < 5
    assert float(np.abs((found - np.diag(own)) / error).max()) > 20


def test_telegraph_pixels_jump_as_often_and_as_far_as_they_should() -> None:
    model = temporal_model(("telegraph",))
    part, clean = model.telegraph, torch.full((1, 1, 200, 200), 0.1, dtype=torch.float64)
    assert part is not None
    stream = model.stream(seed=2)
    stream.next_frame(clean)
    traps = stream.memory.traps  # type: ignore[union-attr]
    assert traps is not None
    cond = Conditions(clean, 100.0, 0).resolve(model.cameras)
    expected = float(part.fraction(cond)) * clean.numel()
    count = len(traps.amplitude)
    assert abs(count - expected) < 5 * expected**0.5
    up, down = (float(rate) for rate in part.rates(cond))
    states = []
    for _ in range(40):
        states.append(traps.full.clone())
        stream.next_frame(clean)
    full = torch.stack(states).double()
    filled = ((full[1:] == 1) & (full[:-1] == 0)).sum() / (full[:-1] == 0).sum()
    emptied = ((full[1:] == 0) & (full[:-1] == 1)).sum() / (full[:-1] == 1).sum()
    assert float(filled) == pytest.approx(up, rel=0.1)
    assert float(emptied) == pytest.approx(down, rel=0.1)
    level = traps.level(traps.full)
    assert float(level.sum()) / count == pytest.approx(0, abs=5 * float(traps.amplitude.std()) / count**0.5)
    assert float(traps.amplitude.mean()) == pytest.approx(0.916 * float(part.mean_amplitude(cond)), rel=0.1)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_stream_is_the_batch_bit_for_bit(frame: str) -> None:
    """Element by element; where the frame's model convolves, kernels of other batches round otherwise."""
    model = temporal_model(tuple(PARTS), frame=frame, layout="bayer")
    clean = clean_frames(4)
    isos, cameras = torch.tensor([100.0, 300.0], dtype=torch.float64), torch.tensor([0, 1])
    batch = model.sample_sequence(clean, isos, cameras, Keyed(3, (7, 9)))
    for element, number in enumerate((7, 9)):
        own, source = slice(element, element + 1), Keyed(3, (number,))
        stream = model.stream(iso=isos[own], camera=cameras[own], source=source)
        alone = torch.stack([stream.noise(clean[own, t]) for t in range(4)], 1)
        assert torch.equal(alone, model.sample_sequence(clean[own], isos[own], cameras[own], source))
        assert torch.allclose(alone[0], batch[element], rtol=0, atol=1e-12)
        if model.frame.elementwise:
            assert torch.equal(alone[0], batch[element])


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("workers", [1, 2])
def test_tiles_are_the_whole_frame_bit_for_bit(frame: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later frame in windows of any kind, from any thread, is that frame in one piece."""
    monkeypatch.setattr("noiseflow.augment.frames.tiles.CORE", 16)
    model = temporal_model(tuple(PARTS), frame=frame, layout="bayer").float()
    size = (21, 37)
    clean = clean_frames(1, size=size)[0, 0].float()

    def noise(workers: int) -> FrameNoise:
        stream = model.stream(iso=200.0, camera="B", source=Keyed(11))
        for _ in range(3):
            own = stream.next_frame(clean[None])
        cut = Window(0, 0, *size)
        return FrameNoise(
            own, size, lambda window: window.of(clean, cut), iso=200.0, camera="B", keyed=Keyed(11), workers=workers
        )

    whole = torch.cat([strip for _, strip in noise(1).strips()], 1)
    again = torch.cat([strip for _, strip in noise(workers).strips()], 1)
    assert torch.equal(whole, again)
    for window in (Window(0, 0, 21, 37), Window(5, 9, 7, 20), Window(20, 36, 1, 1)):
        part = noise(workers).window(window)
        assert torch.equal(part, whole[:, window.top : window.bottom, window.left : window.right])


def test_pixels_that_jump_do_so_at_their_place_in_a_window() -> None:
    """Without a flow of innovations, which keeps all of a frame's latents."""
    model, clean = temporal_model(("dark_pattern", "telegraph"), layout="bayer"), clean_frames(1, size=(21, 37))[:1, 0]
    stream = model.stream(iso=200.0, camera="B", source=Keyed(11))
    frame = [stream.next_frame(clean) for _ in range(3)][-1]
    whole = frame.sample(Conditions(clean, 200.0, "B"), Keyed(11))
    for top, left in ((0, 9), (5, 9), (3, 0)):
        cut = np.s_[:, :, top : top + 7, left : left + 20]
        part = frame.sample(Conditions(clean[cut], 200.0, "B"), Keyed(11, (0,), top, left, (21, 37)))
        torch.testing.assert_close(part, whole[cut], rtol=1e-12, atol=1e-12)


def test_the_pattern_stays_on_the_sensor_while_the_picture_moves() -> None:
    model = temporal_model(("dark_pattern",))
    with torch.no_grad():
        model.parts["dark_pattern"].log_sigma.fill_(np.log(0.0199))  # type: ignore[union-attr, operator]
    clean = clean_frames(2, planes=1, size=(60, 60))[:1] * 0.01
    noise = model.sample_sequence(clean, 100.0, 0, Keyed(1))[0]
    assert float(torch.corrcoef(noise.flatten(1))[0, 1]) > 0.9


def numbers_in(held: object) -> int:
    """Numbers in all tensors that something holds, models apart."""
    if isinstance(held, Tensor):
        return held.numel()
    if isinstance(held, list | tuple):
        return sum(numbers_in(each) for each in held)
    return sum(numbers_in(each) for each in vars(held).values()) if type(held) in (Memory, Traps, Innovations) else 0


@pytest.mark.parametrize("frames", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_frames(frames: int) -> None:
    stream, clean = temporal_model(tuple(PARTS)).stream(seed=1), clean_frames(1, planes=1, size=(3, 4))[:1, 0]
    # A law has a past from the first frame on.
    stream.noise(clean)
    first = numbers_in(stream.memory)
    assert first > 9 * clean.numel()
    for _ in range(frames):
        stream.noise(clean)
    assert numbers_in(stream.memory) == first


def test_a_published_camera_s_profile_can_remember() -> None:
    from noiseflow.calibrate.profiles.published import shipped_profile

    frame = from_profile("poisson_gaussian", shipped_profile("Sony A7S2"))
    model = build(temporal_spec(frame.spec, ["black_drift"]))
    noisy = model.stream(iso=1600.0, seed=1)(torch.full((4, 8, 8), 0.1))  # type: ignore[operator]
    assert noisy.shape == (4, 8, 8)
    with pytest.raises(ModelError, match="which this model lacks"):
        build(temporal_spec(from_profile("eld", shipped_profile("Sony A7S2")).spec, ["black_drift"]))


def test_what_does_not_fit_is_refused() -> None:
    model = temporal_model(("black_drift",))
    stream = model.stream()
    stream(torch.zeros(1, 1, 4, 4))
    with pytest.raises(DataError, match="the shape of the frames before"):
        stream(torch.zeros(1, 1, 4, 5))
    with pytest.raises(ModelError, match="a window of a frame"):
        model.sample(Conditions(torch.zeros(1, 1, 4, 4), 100.0), Keyed(1, top=4, size=(8, 8)))
    assert ModelSpec("nlf") != model.spec


@pytest.mark.parametrize("source", [None, Keyed(1, (3,)), torch.Generator()], ids=["seed", "keyed", "generator"])
@pytest.mark.parametrize("parts", [("dark_pattern", "black_drift"), ("telegraph",), tuple(PARTS)], ids="+".join)
def test_an_empty_batch_is_an_empty_sequence(parts: tuple[str, ...], source: Source) -> None:
    model = temporal_model(parts)
    clean = torch.full((0, 3, 1, 4, 5), 0.2, dtype=torch.float64)
    assert model.sample_sequence(clean, 100.0, 0, source).shape == clean.shape
    stream = model.stream(source=source)
    assert all(stream(frame).shape == frame.shape for frame in clean.unbind(1))

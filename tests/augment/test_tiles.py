"""The noise of a frame is the same bits however the frame is cut, and what the model draws for the whole of it."""

import itertools
import multiprocessing
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings, strategies as st
from model_table import CAMERAS, ISOS, NEEDS_FRAME, TRAINED, known, randomised_model, spec_of
from torch import Tensor

from noiseflow.augment.frames import tiles
from noiseflow.augment.frames.tiles import FrameNoise
from noiseflow.augment.frames.windows import Window
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.flows.camera.neighbour_filter import NeighbourFilter
from noiseflow.flows.camera.neighbour_rows import NeighbourRows
from noiseflow.flows.camera.row_noise import RowNoise
from noiseflow.flows.conditions import Conditions
from noiseflow.models import MODELS, ModelSpec, NoiseModel, build, from_profile
from noiseflow.models.oracle.select import oracle_from_truth
from noiseflow.models.physics.dark_frame import dark_frame_model
from noiseflow.ops.random.sampling import Keyed
from noiseflow.simulate import load_camera, truth_of

SMALL = {"couplings": 2, "steps": 1, "bins": 4, "blocks": 1}
EXTRA = {
    "columns": {"column_noise": True},
    "flicker": {"row_flicker": True},
    "memory": {"row_memory": True},
    "neighbours": {"neighbours": "mosaic", "neighbour_rows": True},
    "jumps": {"telegraph": True},
}
OTHERS = (*(f"physics_flow with {each}" for each in EXTRA), "oracle", "line oracle")
ALL = [*sorted(set(MODELS) - NEEDS_FRAME), *OTHERS]


def model_of(name: str) -> tuple[NoiseModel, float, str]:
    """A model in float32 with every parameter moved, an ISO, a camera."""
    if name in ("poisson_gaussian", "poisson_gaussian_exact", "eld"):
        profile = shipped_profile("Sony A7S2")
        return from_profile(name, profile), 1600.0, profile.camera
    if name in ("dark_frame", "spectral"):
        profile = shipped_profile("Sony A7S2")
        draw = torch.Generator().manual_seed(0)
        dark = torch.randint(500, 530, (2, 4, 90, 100), generator=draw, dtype=torch.int32).numpy()
        return dark_frame_model(profile, {1600.0: list(dark)}, kind=name), 1600.0, profile.camera
    if "oracle" in name:
        physics = load_camera("PG-12" if name == "oracle" else "Sony A7S2")
        truth = truth_of(physics, sorted(physics.isos))
        camera = next(iter(truth))
        oracle = oracle_from_truth(truth, "bayer", [camera], truth[camera]["isos"])
        assert oracle is not None
        return oracle, truth[camera]["isos"][-1], camera
    options = {**SMALL, **EXTRA.get(name.split()[-1], {})}
    name = name.split()[0]
    spec = ModelSpec(name, "bayer", CAMERAS, ISOS, known(name, options))
    if name == "noise_flow":
        spec = spec_of(name, "bayer")
    model = build(spec).eval()
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
        for module in model.modules():
            if isinstance(module, RowNoise):
                module.log_flicker.fill_(-10.0)
            if isinstance(module, NeighbourFilter):
                module.weights.mul_(0.3)
            if isinstance(module, NeighbourRows):
                module.taps.copy_(torch.tensor([1.1, -0.2, 0.1, 0.0, 0.0]))
    return model, 640.0, "B"


def clean_of(size: tuple[int, int], planes: int = 4) -> Callable[[Window], Tensor]:
    whole = torch.rand(planes, *size, generator=torch.Generator().manual_seed(1)) * 0.9
    return lambda window: window.of(whole, Window(0, 0, *size))


def noise_of(
    name: str,
    size: tuple[int, int],
    workers: int = 1,
    frame: int = 5,
    made: tuple[NoiseModel, float, str] | None = None,
) -> FrameNoise:
    model, iso, camera = made or model_of(name)
    return FrameNoise(model, size, clean_of(size), iso=iso, camera=camera, keyed=Keyed(7, (frame,)), workers=workers)


def whole_of(noise: FrameNoise) -> Tensor:
    return torch.cat([strip for _, strip in noise.strips()], -2)


def of_window(name: str, size: tuple[int, int], core: int, threads: int, window: Window) -> Tensor:
    """In a process of its own."""
    tiles.CORE = core
    torch.set_num_threads(threads)
    return noise_of(name, size).window(window).clone()


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "CORE", 16)


@pytest.mark.parametrize("name", ALL)
def test_a_frame_is_the_same_bits_however_it_is_cut(name: str) -> None:
    made = model_of(name)

    # The first example is one pixel.
    @settings(max_examples=4, deadline=None, derandomize=True)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        size = data.draw(st.tuples(st.integers(1, 50), st.integers(1, 50)), label="size")
        step = data.draw(st.tuples(st.integers(9, 50), st.integers(9, 50)), label="window")
        noise = noise_of(name, size, made=made)
        whole = whole_of(noise)
        assert whole.shape == (4, *size)
        assert torch.isfinite(whole).all()
        corners = list(itertools.product(range(0, size[0], step[0]), range(0, size[1], step[1])))
        cut = torch.full_like(whole, torch.nan)
        for top, left in data.draw(st.permutations(corners), label="order"):
            window = Window(top, left, *step).intersection(Window(0, 0, *size))
            cut[:, top : window.bottom, left : window.right] = noise.window(window)
        assert torch.equal(cut, whole)

    check()


@pytest.mark.parametrize("name", ALL)
def test_workers_and_threads_change_no_bit(name: str) -> None:
    size, made = (37, 51), model_of(name)
    whole = whole_of(noise_of(name, size, made=made))
    threads = torch.get_num_threads()
    try:
        for count, workers in ((1, 2), (2, 1), (2, 3)):
            torch.set_num_threads(count)
            assert torch.equal(whole_of(noise_of(name, size, workers, made=made)), whole)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(whole_of(noise_of(name, size, frame=6, made=made)), whole)


def test_other_processes_draw_the_same_bits() -> None:
    name, size, windows = "physics_flow", (40, 35), [Window(20, 0, 20, 35), Window(0, 0, 20, 35)]
    whole = whole_of(noise_of(name, size))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        bottom, top = pool.map(partial(of_window, name, size, 16, 2), windows)
    assert torch.equal(torch.cat([top, bottom], -2), whole)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(1, 1), (37, 43), (16, 70)])
def test_tiles_are_what_the_model_draws_for_the_whole_frame(name: str, size: tuple[int, int]) -> None:
    model, iso, camera = made = model_of(name)
    noise = whole_of(noise_of(name, size, made=made))
    whole = clean_of(size)(Window(0, 0, *size))[None]
    expected = model.sample(Conditions(whole, iso, camera), Keyed(7, (5,)))[0]
    # A halo that is too small would be wrong by some per cent of the noise; rounding is a millionth.
    torch.testing.assert_close(noise, expected, rtol=1e-4, atol=2e-5 * float(expected.abs().max()))


def test_a_halo_that_is_too_small_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = noise_of("physics_flow", (37, 43))
    whole = whole_of(noise)
    noise.margins = [margin - 2 if margin else 0 for margin in noise.margins]
    assert (whole_of(noise) - whole).abs().max() > 1e-4 * whole.abs().max()


@pytest.mark.parametrize("name", ["physics_flow", "physics_flow with columns", "eld"])
def test_row_noise_spans_the_frame(name: str) -> None:
    model, iso, camera = model_of(name)
    if name.startswith("physics_flow"):
        with torch.no_grad():
            for transform in model.flow.transforms:
                if hasattr(transform, "log_variance"):
                    transform.log_variance.fill_(0.0)
    size = (64, 128)
    noise = FrameNoise(
        model, size, lambda window: torch.zeros(4, window.height, window.width), iso=iso, camera=camera, keyed=Keyed(1)
    )
    whole = whole_of(noise)
    left, right = whole[:, :, :60].mean(-1), whole[:, :, 68:].mean(-1)
    # The means of a row's halves share its offset, and so do R and G1; independent ones would correlate by
    # 0 ± 0.06 and 0 ± 0.13.
    least = 0.3 if name == "eld" else 0.8
    assert torch.corrcoef(torch.stack([left.flatten(), right.flatten()]))[0, 1] > least
    assert torch.corrcoef(torch.stack([left[0], left[1]]))[0, 1] > least


def test_double_precision_is_kept() -> None:
    model = randomised_model("realnvp", "bayer")
    noise = FrameNoise(
        model,
        (20, 20),
        lambda window: torch.zeros(4, window.height, window.width, dtype=torch.float64),
        iso=400.0,
        camera="A",
        keyed=Keyed(1),
    )
    assert whole_of(noise).dtype == torch.float64


def test_every_model_of_the_registry_is_here() -> None:
    assert set(TRAINED) <= set(ALL)

"""Kernels in C++ against PyTorch's own operations in float64."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transform_table import CAMERAS, ISOS, as_dtype, conditions, generator

from noiseflow.flows import Conditions
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.gain import Gain
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.camera.sinh_arcsinh import SinhArcsinh
from noiseflow.flows.coupling import masks
from noiseflow.flows.coupling.affine import AffineCoupling
from noiseflow.flows.coupling.masked_affine import MaskedAffineCoupling
from noiseflow.flows.coupling.spline import PixelSpline, spline_outputs
from noiseflow.flows.flow import Flow
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1
from noiseflow.flows.nets.border_aware_net import BorderAwareNet
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform
from noiseflow.ops import coupling as coupling_module, native
from noiseflow.ops.libraries import build, command
from noiseflow.ops.libraries.build import available
from noiseflow.ops.native import compiled

needs_compiler = pytest.mark.skipif(not available(), reason="no C++ compiler")


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing built or said yet."""
    caches = (build.say_once, native._built, command.source_texts)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def coupling(planes: int = 4) -> AffineCoupling:
    first = planes // 2
    return AffineCoupling(BorderAwareNet(first, 2 * (planes - first), generator=generator()), 2, 0.3)


def mixing(planes: int = 4) -> InvertibleConv1x1:
    return InvertibleConv1x1(planes, generator())


def run(planes: int = 4) -> Flow:
    """What `noise_flow` is made of, with mixings and gains before, between and after the couplings."""
    head = SignalDependentScale(CAMERAS, ISOS)
    return Flow([head, mixing(planes), coupling(planes), mixing(planes), Gain(0.1), coupling(planes), Gain(-0.1)])


def spline(planes: int = 4) -> PixelSpline:
    net = ConditionalNet(0, spline_outputs(planes, 5), planes, CAMERAS, 8, 1, generator=generator())
    return PixelSpline(net, 5, 2.0)


def odd_spline(planes: int = 4, bins: int = 6) -> PixelSpline:
    net = ConditionalNet(0, spline_outputs(planes, bins, odd=True), planes, CAMERAS, 8, 1, generator=generator())
    return PixelSpline(net, bins, 2.0, odd=True)


def told(planes: int = 4) -> MaskedAffineCoupling:
    net = ConditionalNet(planes, 2 * planes, planes, CAMERAS, 8, 3, generator=generator(), own_signal=True)
    return MaskedAffineCoupling(net, masks.checkerboard(True))


class WithHead(Transform):
    """A transform that gets a head's noise parameters, with all whose parameters it depends on."""

    def __init__(self, make: Callable[[ShotReadScale, CubicTails], Transform], planes: int = 4) -> None:
        super().__init__()
        # Of a clean signal of −0.2 to 1 the read noise's share is 10 (the floor) down to 0.1, the skewness 0 to 0.5.
        self.head = ShotReadScale(planes, CAMERAS, ISOS, shares_features=True)
        self.tails = CubicTails(CAMERAS, ISOS, by_read_share=True)
        nn.init.constant_(self.head.log_beta1, -2.0)
        nn.init.constant_(self.head.log_beta2, -4.0)
        with torch.no_grad():
            self.tails.kurtosis.copy_(torch.tensor([[2.0, 0.5, 0.2], [-0.9, -0.4, 0.4], [8.0, 13.0, -0.1]]))
        self.inner = make(self.head, self.tails)

    def found(self, cond: Conditions) -> NoiseParameters | None:
        return self.tails.shared_features(cond, self.head.shared_features(cond, None))

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.inner(x, cond, self.found(cond))
        return z, log_det

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        return self.inner.inverse(z, cond, self.found(cond))


def skew(head: ShotReadScale, tails: CubicTails) -> SinhArcsinh:
    return SinhArcsinh(CAMERAS, ISOS)


def held_skew(head: ShotReadScale, tails: CubicTails) -> SinhArcsinh:
    """Wanting more than it gives: its skewness ends at 1, and the kurtosis beyond that at both of its ends."""
    made = skew(head, tails)
    nn.init.constant_(made.skewness, 3.0)
    return made


def rows(planes: int = 4) -> WithHead:
    return WithHead(lambda head, _: LineNoise(planes, CAMERAS, ISOS, "row", 0.3, in_read_noise=True), planes)


MADE = {
    "shot and read noise": lambda: WithHead(lambda head, _: head),
    "rows": rows,
    "rows of one plane": lambda: rows(1),
    "skew": lambda: WithHead(skew),
    "skew beyond its bounds": lambda: WithHead(held_skew),
    "tails": lambda: WithHead(lambda _, tails: tails),
    "told coupling": told,
    "told coupling of 3 planes": lambda: told(3),
    "spline": spline,
    "spline of 3 planes": lambda: spline(3),
    "odd spline": odd_spline,
    "odd spline of 3 planes, of 4 bins": lambda: odd_spline(3, 4),
    "coupling": coupling,
    "coupling of 3 planes": lambda: coupling(3),
    "run": run,
    "run of 3 planes": lambda: run(3),
    "mixing": mixing,
    "mixing of 3 planes": lambda: mixing(3),
}

every = pytest.mark.parametrize("name", MADE)


def moved(name: str) -> Transform | Flow:
    """With other parameters and running statistics than at its start."""
    transform: Transform | Flow = MADE[name]()
    draw = generator(4)
    running = [value for key, value in transform.named_buffers() if "running" in key]
    for tensor in (*transform.parameters(), *running):
        tensor.data += 0.2 * torch.rand(tensor.shape, generator=draw)
    return transform


def planes_of(name: str) -> int:
    return 3 if "3" in name else 1 if "one plane" in name else 4


def batch(name: str, height: int, width: int) -> tuple[Tensor, Conditions]:
    cond = conditions(3, planes_of(name), height, width)
    cond = replace(cond, clean=1.2 * cond.clean - 0.2)
    return torch.randn(cond.clean.shape, generator=generator(5), dtype=torch.float64), cond


def trained(transform: Transform | Flow, x: Tensor, cond: Conditions) -> dict[str, Tensor]:
    """Values, every gradient, and buffers after one pass in training."""
    transform.train()
    x = x.clone().requires_grad_()
    z, log_det = transform(x, cond)
    weight = torch.randn(z.shape, generator=generator(6), dtype=torch.float64).to(z.dtype)
    ((z * weight).sum() + (log_det * (1 + torch.arange(len(z)))).sum()).backward()
    assert log_det.dtype == x.dtype
    found = {"z": z.detach(), "log_det": log_det.detach(), "x": x.grad, **dict(transform.named_buffers())}
    found |= {f"gradient of {key}": value.grad for key, value in transform.named_parameters()}
    return {key: value for key, value in found.items() if value is not None}


def evaluated(transform: Transform | Flow, x: Tensor, cond: Conditions) -> dict[str, Tensor]:
    transform.eval()
    with torch.no_grad():
        z, log_det = transform(x, cond)
        return {"z": z, "log_det": log_det, "inverse": transform.inverse(x, cond), "back": transform.inverse(z, cond)}


def kernels_in_use(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    called: list[str] = []
    call = native.Kernels.__call__
    monkeypatch.setattr(
        native.Kernels, "__call__", lambda self, name, **more: (called.append(name), call(self, name, **more))
    )
    return called


@needs_compiler
@every
@pytest.mark.parametrize("size", [(7, 20), (2, 3), (32, 32), (1, 70)])
def test_values_gradients_and_statistics_are_pytorch_s(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, cond = batch(name, *size)
    for walk in (trained, evaluated):
        with compiled(False):
            expected = walk(moved(name).double(), x, cond)
        called = kernels_in_use(monkeypatch)
        with compiled():
            found = walk(moved(name), x.float(), as_dtype(cond, torch.float32))
        assert called
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            if isinstance(moved(name), AffineCoupling | Flow) and "bias" in key and "conv3" not in key:
                # Of a norm's input: 0 but for rounding, in PyTorch too.
                assert found[key].abs().max() < 1e-5
                continue
            largest = value.abs().max().clamp(min=1e-3).item()
            torch.testing.assert_close(found[key].double(), value.double(), rtol=0, atol=2e-5 * largest, msg=key)


@needs_compiler
@every
def test_a_value_depends_neither_on_threads_nor_on_where_a_tile_is_cut(name: str) -> None:
    x, cond = batch(name, 150, 45)
    x, cond = x.float(), as_dtype(cond, torch.float32)
    transform, threads = moved(name), torch.get_num_threads()
    runs = []
    for count in (1, 3):
        try:
            torch.set_num_threads(count)
            with compiled():
                runs.append((evaluated(transform, x, cond), trained(moved(name), x, cond)))
        finally:
            torch.set_num_threads(threads)
    for one, three in zip(*runs, strict=True):
        assert all(torch.equal(one[key], three[key]) for key in one)
    top, reach = 61, transform.reach
    left, right = (0, 45) if "rows" in name else (7, 30)
    part = (slice(None), slice(None), slice(top - reach, 120 + reach), slice(left - reach, right + reach))
    inner = (slice(None), slice(None), slice(reach, -reach or None), slice(reach, -reach or None))
    of_part = replace(cond, clean=cond.clean[part].contiguous())
    with compiled():
        tile = evaluated(transform, x[part].contiguous(), of_part)["inverse"][inner]
    assert torch.equal(tile, runs[0][0]["inverse"][:, :, top:120, left:right])


@needs_compiler
def test_bands_of_a_tall_frame_give_the_bits_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, threads = moved("run"), torch.get_num_threads()
    x, cond = torch.randn(1, 4, 61, 5, generator=generator(5)), as_dtype(conditions(1, 4, 61, 5), torch.float32)
    runs = []
    for count, least in ((1, 62), (1, 12), (2, 12)):
        monkeypatch.setattr(coupling_module, "LEAST_ROWS", least)
        try:
            torch.set_num_threads(count)
            runs.append(evaluated(flow, x, cond))
        finally:
            torch.set_num_threads(threads)
    assert all(torch.equal(runs[0][key], cut[key]) for cut in runs[1:] for key in runs[0])


@needs_compiler
def test_a_flow_of_couplings_and_mixings_is_one_call_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    called = kernels_in_use(monkeypatch)
    x, cond = batch("run", 3, 4)
    flow = run().eval()
    x, cond = x.float(), as_dtype(cond, torch.float32)
    with torch.no_grad():
        flow.inverse(x, cond)
        assert called == ["evaluate"]
        flow(x, cond)
    assert called == ["evaluate", "scale_forward", "evaluate"]


@needs_compiler
def test_a_sample_is_the_inverse_of_the_base_noise_which_stays_as_it_was() -> None:
    flow = moved("run").eval()
    assert isinstance(flow, Flow)
    x, cond = batch("run", 9, 21)
    x, cond = x.float(), as_dtype(cond, torch.float32)
    before = x.clone()
    with torch.no_grad():
        z = flow.base.sample(x, generator(3))
        assert torch.equal(flow.sample(cond, generator(3)), flow.inverse(z, cond))
        assert torch.equal(flow.sample(cond, generator(3), 0.5), flow.inverse(0.5 * z, cond))
        flow.inverse(x, cond)
    assert torch.equal(x, before)


@needs_compiler
def test_they_are_taken_in_sampling_and_only_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    called = kernels_in_use(monkeypatch)
    transform = coupling().eval()
    x, cond = batch("coupling", 3, 4)
    transform(x.float(), cond)
    transform.double()(x, cond)
    transform.float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        transform.inverse(x.float(), cond)
    with torch.no_grad(), compiled(False):
        transform.inverse(x.float(), cond)
    assert not called
    with torch.no_grad():
        transform.inverse(x.float(), cond)
    assert called == ["evaluate"]


@needs_compiler
def test_a_norm_of_another_kind_keeps_its_own_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shared(nn.BatchNorm2d):
        pass

    called = kernels_in_use(monkeypatch)
    transform = coupling()
    transform.net.norm1 = Shared(4, eps=1e-4, affine=False)
    x, cond = batch("coupling", 3, 4)
    with compiled():
        trained(transform, x.float(), cond)
    assert "forward" not in called


@needs_compiler
def test_nan_and_infinity_stay_visible() -> None:
    x, cond = batch("coupling", 6, 9)
    for bad in (torch.nan, torch.inf):
        x[0, 0, 2, 3] = bad
        with compiled():
            for found in (trained(moved("coupling"), x.float(), cond), evaluated(moved("coupling"), x.float(), cond)):
                assert not torch.isfinite(found["z"][0]).all()


def test_without_a_compiler_it_says_so_once_and_goes_on(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_compiler", lambda: None)
    x, cond = batch("coupling", 3, 4)
    with pytest.warns(RuntimeWarning, match="no C\\+\\+ compiler"), compiled():
        found = evaluated(moved("coupling"), x.float(), cond)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with compiled():
            again = evaluated(moved("coupling"), x.float(), cond)
    with compiled(False):
        plain = evaluated(moved("coupling"), x.float(), cond)
    assert torch.equal(found["z"], plain["z"])
    assert torch.equal(again["z"], plain["z"])


@needs_compiler
def test_a_source_that_does_not_compile_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.setattr(command, "SOURCES", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "channel_mixing.cpp").write_text("int broken(\n")
    (tmp_path / "simd.h").write_text("")
    x, cond = batch("mixing", 3, 4)
    with pytest.warns(RuntimeWarning, match="channel_mixing: not compiled"), compiled():
        found = evaluated(moved("mixing"), x.float(), cond)
    assert torch.isfinite(found["z"]).all()
    assert not list((tmp_path / "cache").rglob("*.so"))

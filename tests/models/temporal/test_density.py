"""The density of a sequence: against a dense Gaussian, against all states of telegraph pixels, and causal."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from temporal_models import LINEAR, covariance_of, temporal_model
from torch import Tensor

from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, TemporalNoise, build, load, save, temporal_spec
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.telegraph import amplitudes

ISO = torch.tensor([100.0, 250.0], dtype=torch.float64)
CAMERA = torch.tensor([0, 1])
SETS = [("dark_pattern",), LINEAR[:2], LINEAR[2:], ("dark_pattern", "black_drift"), LINEAR]


def sequence(frames: int, moving: bool, planes: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise and clean signal of two elements of 3×4 pixels."""
    draw = torch.Generator().manual_seed(seed)
    shape = (2, frames, planes, 3, 4)
    clean = torch.rand(2, frames if moving else 1, *shape[2:], generator=draw, dtype=torch.float64)
    return 0.03 * torch.randn(shape, generator=draw, dtype=torch.float64), clean


def terms(model: TemporalNoise, noise: Tensor, clean: Tensor, observed: Tensor | None = None) -> Tensor:
    return model.log_prob_of_sequence(noise, clean, ISO, CAMERA, observed)


def dense(model: TemporalNoise, noise: Tensor, clean: Tensor, keep: Tensor | None = None) -> list[float]:
    """Joint log-density of each element by a dense normal law, of the pixels that are kept."""
    found = []
    for element in range(2):
        cond = Conditions(clean[element, :1], ISO[element : element + 1], CAMERA[element : element + 1])
        signal = clean[element].expand(noise.shape[1:]).flatten(1)
        covariance = covariance_of(model, signal, cond.resolve(model.cameras))
        kept = slice(None) if keep is None else keep[element].flatten().numpy()
        law = multivariate_normal(cov=covariance[kept][:, kept])
        found.append(float(law.logpdf(noise[element].flatten().numpy()[kept])))
    return found


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("parts", SETS, ids="+".join)
@pytest.mark.parametrize("seed", range(3))
def test_the_sum_over_frames_is_the_joint_density(parts: tuple[str, ...], moving: bool, seed: int) -> None:
    model = temporal_model(parts, seed)
    noise, clean = sequence(2 + 2 * seed, moving, seed=seed)
    assert terms(model, noise, clean).sum(1).tolist() == pytest.approx(dense(model, noise, clean), rel=0, abs=1e-8)


@pytest.mark.parametrize("parts", SETS, ids="+".join)
def test_a_pattern_may_be_added_to_the_frame_s_noise(parts: tuple[str, ...]) -> None:
    model = temporal_model(parts, pattern="added")
    noise, clean = sequence(4, moving=True)
    assert terms(model, noise, clean).sum(1).tolist() == pytest.approx(dense(model, noise, clean), rel=0, abs=1e-8)


def test_a_signal_that_comes_back_needs_no_new_memory() -> None:
    model = temporal_model(LINEAR)
    noise, clean = sequence(6, moving=True)
    clean = clean[:, [0, 1, 0, 0, 1, 2]]
    density = model.follow(ISO, CAMERA)
    found = sum(density(noise[:, t], clean[:, t]) for t in range(6))
    assert isinstance(found, Tensor)
    assert found.tolist() == pytest.approx(dense(model, noise, clean), rel=0, abs=1e-8)
    assert density.memory is not None
    assert len(density.memory.signals) == 3


@pytest.mark.parametrize("parts", SETS, ids="+".join)
def test_masked_pixels_are_left_out_exactly(parts: tuple[str, ...]) -> None:
    model = temporal_model(parts)
    noise, clean = sequence(4, moving=False)
    observed = torch.rand(noise.shape, generator=torch.Generator().manual_seed(1)) > 0.2
    found = terms(model, noise, clean, observed).sum(1).tolist()
    assert found == pytest.approx(dense(model, noise, clean, observed), rel=0, abs=1e-8)


def by_all_states(
    model: TemporalNoise, v: Tensor, sigma: float, own: float, cond: Conditions, keep: Tensor | None = None
) -> float:
    """log of the sum over every path of states of one pixel, (T,), of the frames that are kept."""
    part = model.telegraph
    assert part is not None
    fraction, mean = float(part.fraction(cond)), float(part.mean_amplitude(cond))
    up, down = (float(rate) for rate in part.rates(cond))
    full, frames = up / (up + down), len(v)
    jumps = [step * mean / sigma for step in amplitudes()]
    rest = 1 - fraction * float(np.mean(np.square(jumps))) * full * (1 - full)
    share = own / sigma**2
    kept = np.ones(frames, bool) if keep is None else keep.numpy()
    if not kept.any():
        return 0.0
    plain = multivariate_normal(cov=(np.full((frames, frames), share) + (rest - share) * np.eye(frames))[kept][:, kept])
    total = (1 - fraction) * plain.pdf(v.numpy()[kept])
    steps = {(0, 1): up, (0, 0): 1 - up, (1, 0): down, (1, 1): 1 - down}
    for jump in jumps:
        for path in itertools.product((0, 1), repeat=frames):
            chance = full if path[0] else 1 - full
            for pair in itertools.pairwise(path):
                chance *= steps[pair]
            level = (np.array(path) - full) * jump
            each = np.exp(-0.5 * (v.numpy() - level) ** 2 / rest) / math.sqrt(2 * math.pi * rest)
            density = each[kept].prod()
            total += fraction / len(jumps) * chance * density
    return math.log(total)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("parts", [("telegraph",), ("dark_pattern", "telegraph")], ids="+".join)
def test_telegraph_pixels_are_the_sum_over_all_states(parts: tuple[str, ...], masked: bool) -> None:
    model = temporal_model(parts)
    noise, clean = sequence(5, moving=False)
    observed = torch.rand(noise.shape, generator=torch.Generator().manual_seed(1)) > 0.3 if masked else None
    found = terms(model, noise, clean, observed).sum(1)
    for element in range(2):
        cond = Conditions(clean[element], ISO[element : element + 1], CAMERA[element : element + 1])
        cond = cond.resolve(model.cameras)
        sigma = model.approximate_sigma(cond).flatten()
        z = noise[element].flatten(1).T / sigma[:, None]
        own = 0.0
        if "dark_pattern" in parts:
            own = float(model.parts["dark_pattern"].at("log_sigma", cond).exp()) ** 2
        keep = torch.ones(12, 5, dtype=torch.bool) if observed is None else observed[element].flatten(1).T
        joint = sum(
            by_all_states(model, z[pixel], float(sigma[pixel]), own, cond, keep[pixel])
            - int(keep[pixel].sum()) * float(sigma[pixel].log())
            for pixel in range(12)
        )
        assert float(found[element]) == pytest.approx(joint, abs=1e-8)


@pytest.mark.parametrize("parts", [("telegraph", "black_drift"), tuple(PARTS)], ids="+".join)
def test_with_everything_in_it_the_density_of_a_frame_given_the_past_integrates_to_one(parts: tuple[str, ...]) -> None:
    model = temporal_model(parts)
    past = torch.tensor([0.05, -0.02], dtype=torch.float64)
    grid = torch.linspace(-0.4, 0.4, 4001, dtype=torch.float64).reshape(-1, 1, 1, 1)
    clean = torch.full_like(grid, 0.3)
    density = model.follow(100.0)
    for value in past:
        density(torch.full_like(grid, float(value)), clean)
    log_prob = density(grid, clean)
    assert float(torch.trapezoid(log_prob.exp(), grid.flatten())) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("parts", [LINEAR, tuple(PARTS)], ids="+".join)
@pytest.mark.parametrize("frame", ["nlf", "physics_flow"])
def test_a_frame_changes_no_earlier_term(parts: tuple[str, ...], frame: str) -> None:
    model = temporal_model(parts, frame=frame, layout="bayer")
    noise, clean = sequence(5, moving=False, planes=4)
    before = terms(model, noise, clean)
    noise[:, 3] += 0.01
    after = terms(model, noise, clean)
    assert torch.equal(before[:, :3], after[:, :3])
    assert bool((before[:, 3:] != after[:, 3:]).all())


@pytest.mark.parametrize("frame", ["nlf", "gaussian", "physics_flow", "noise_flow", "glow"])
def test_a_burst_of_one_frame_has_the_density_of_the_frame_s_model(frame: str) -> None:
    model = temporal_model(LINEAR[:2], frame=frame, layout="bayer")
    noise, clean = sequence(1, moving=False, planes=4)
    alone = model.frame.log_prob(noise[:, 0], Conditions(clean[:, 0], ISO, CAMERA))
    assert torch.allclose(terms(model, noise, clean)[:, 0], alone, rtol=0, atol=1e-9)
    assert torch.allclose(model.log_prob(noise[:, 0], Conditions(clean[:, 0], ISO, CAMERA)), alone, rtol=0, atol=1e-9)


def test_a_flow_s_density_of_a_pair_integrates_to_one() -> None:
    """Two frames of one pixel under a flow with tails: over the plane of its two values."""
    model = temporal_model(("dark_pattern",), frame="physics_flow")
    grid = torch.linspace(-0.12, 0.12, 401, dtype=torch.float64)
    pairs = torch.cartesian_prod(grid, grid).reshape(-1, 2, 1, 1, 1)
    clean = torch.full((len(pairs), 1, 1, 1, 1), 0.05, dtype=torch.float64)
    log_prob = model.log_prob_of_sequence(pairs, clean, 100.0).sum(1).reshape(401, 401)
    total = torch.trapezoid(torch.trapezoid(log_prob.exp(), grid), grid)
    assert float(total) == pytest.approx(1, abs=1e-3)
    apart = sum(model.frame.log_prob(pairs[:, t], Conditions(clean[:, 0], 100.0)) for t in range(2))
    assert isinstance(apart, Tensor)
    assert float((log_prob.flatten() - apart).abs().max()) > 0.01


def test_parts_have_a_gradient() -> None:
    model = temporal_model(tuple(PARTS)).requires_grad_(True)
    noise, clean = sequence(4, moving=False)
    terms(model, noise, clean).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.abs().max() > 0), name


def test_a_run_folder_gives_the_same_density(tmp_path: Path) -> None:
    model = temporal_model(LINEAR).float()
    save(model, tmp_path)
    again = load(tmp_path)
    assert isinstance(again, TemporalNoise)
    noise, clean = (each.float() for each in sequence(3, moving=False))
    assert torch.allclose(terms(model, noise, clean), terms(again, noise, clean), rtol=0, atol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    model = temporal_model(LINEAR)
    noise, clean = sequence(3, moving=False)
    with pytest.raises(DataError, match="one ISO for all frames of a sequence; got 100, 200"):
        model.log_prob_of_sequence(noise, clean, torch.tensor([[100.0, 100.0, 200.0]] * 2))
    with pytest.raises(DataError, match="shape"):
        model.log_prob_of_sequence(noise[:, 0], clean[:, 0], 100.0)
    density = model.follow(100.0)
    density(noise[:, 0], clean[:, 0])
    with pytest.raises(DataError, match="the shape of the frames before"):
        density(noise[:1, 1], clean[:1, 0])
    with pytest.raises(ModelError, match="part 'fog' is not known"):
        build(temporal_spec(ModelSpec("nlf"), ["fog"]))
    with pytest.raises(ModelError, match="each part only once"):
        build(temporal_spec(ModelSpec("nlf"), ["telegraph", "telegraph"]))
    with pytest.raises(ModelError, match="expected within or added; got 'beside'"):
        build(temporal_spec(ModelSpec("nlf"), [], "beside"))
    with pytest.raises(ModelError, match="fit-video"):
        build(ModelSpec("temporal"))
    with pytest.raises(ModelError, match="itself a sequence model"):
        build(temporal_spec(temporal_spec(ModelSpec("nlf"), []), []))


@pytest.mark.parametrize(
    ("parts", "frame", "pattern", "elementwise"),
    [
        (("dark_pattern", "response_pattern"), "nlf", "within", True),
        (("dark_pattern",), "nlf", "added", False),
        (("black_drift",), "nlf", "within", False),
        (("light_flicker",), "nlf", "within", False),
        (("telegraph",), "nlf", "within", False),
        (("dark_pattern",), "glow", "within", False),
    ],
)
def test_a_model_is_elementwise_without_what_pixels_share_or_what_is_added(
    parts: tuple[str, ...], frame: str, pattern: str, elementwise: bool
) -> None:
    layout = "mono" if frame == "nlf" else "bayer"
    assert temporal_model(parts, frame=frame, layout=layout, pattern=pattern).elementwise is elementwise

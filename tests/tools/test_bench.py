"""What is measured against is the same model, and a run at tiny sizes makes the page."""

import platform
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from noiseflow.flows import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.models.flow.noise_flow import NoiseFlow
from noiseflow.models.model import checked_conditions
from noiseflow.ops.libraries.command import PROCESSORS

pytest.importorskip("nflows", reason="the reference is not installed")

from tools import bench
from tools.benching import timing
from tools.benching.gpu import gpu_page, gpu_rows
from tools.benching.machine import Machine, Moved, layers_of, multiply_adds, processor
from tools.benching.memory_of import peaks_of
from tools.benching.of_nflows import NflowsNoiseFlow
from tools.benching.plain import PlainNoiseFlow
from tools.benching.subjects import PLAIN, Point, built
from tools.benching.sweep import AIMED, TINY, Found, sweep
from tools.benching.words import aims


@pytest.fixture(scope="module")
def model() -> NoiseFlow:
    made = build(ModelSpec("noise_flow", cameras=("A", "B"), isos=(100.0, 800.0)))
    assert isinstance(made, NoiseFlow)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    return made


@pytest.fixture
def patches() -> tuple[torch.Tensor, Conditions]:
    draw = torch.Generator().manual_seed(1)
    clean = torch.rand(3, 4, 10, 12, generator=draw)
    noise = 0.02 * torch.randn(clean.shape, generator=draw)
    return noise, Conditions(clean, torch.full((3,), 200.0), torch.ones(3).long())


@pytest.mark.parametrize("training", [True, False])
def test_plain_layers_are_noise_flow(
    model: NoiseFlow, patches: tuple[torch.Tensor, Conditions], training: bool
) -> None:
    noise, cond = patches
    plain = PlainNoiseFlow().take(model.eval(), cond)
    torch.testing.assert_close(
        plain.train(training)(noise, cond.clean), model.train(training)(noise, cond), rtol=1e-5, atol=1e-2
    )
    z, _ = model.eval().flow(noise, checked_conditions(model, cond))
    torch.testing.assert_close(plain.eval().sample(cond.clean, z), noise, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore:torch.triangular_solve:UserWarning")
def test_the_model_of_nflows_is_a_flow_as_large(model: NoiseFlow, patches: tuple[torch.Tensor, Conditions]) -> None:
    noise, cond = patches
    theirs = NflowsNoiseFlow(8, 12).eval()
    sizes = [sum(parameter.numel() for parameter in each.parameters()) for each in (model, theirs)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    z, log_det = theirs.flow._transform(noise, cond.clean)
    back, opposite = theirs.flow._transform.inverse(z, cond.clean)
    torch.testing.assert_close(back, noise, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(opposite, -log_det, rtol=1e-5, atol=1e-2)


def test_a_tiny_run_makes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Mine.\n\n<!-- {bench.SPEED} -->\nold\n<!-- /{bench.SPEED} -->\n\nMine too.\n", encoding="utf-8")
    monkeypatch.setattr(bench, "sweep", lambda size, tell, second: sweep(size, tell, memory=False, second=second))
    monkeypatch.setattr(timing, "ENOUGH_S", 0.0)
    threads = torch.get_num_threads()
    arguments = ["--tiny", "--page", str(page), "--json", str(tmp_path / "figures.json")]
    result = CliRunner().invoke(bench.main, arguments, catch_exceptions=False)
    torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Mine.\n")
    assert text.endswith("\nMine too.\n")
    assert "| plain layers | 1.00 × | 1.00 × |" in text
    assert "old" not in text
    assert f"on one machine ({processor()})" in text
    for what in ("training", "sampling"):
        assert f"images/performance-{what}.png" in text
        assert (tmp_path / "images" / f"performance-{what}.png").stat().st_size > 10_000
    assert f"couplings {TINY.default.couplings} and 4" in text


@pytest.mark.skipif(platform.machine() != "x86_64", reason="flags of x86-64 processors")
def test_the_page_names_the_processor_and_its_vectors() -> None:
    flags = {name: PROCESSORS["x86_64"][name] for name in ("x86-64-v2", "x86-64-v3", "x86-64-v4")}
    older = f"{flags['x86-64-v2']} {flags['x86-64-v3']}"
    assert processor(f"model name\t: AMD EPYC\nflags\t\t: {older}\n") == "AMD EPYC, x86_64 with AVX2 (no AVX-512)"
    assert processor(f"model name\t: Xeon\nflags\t\t: {older} {flags['x86-64-v4']}\n") == "Xeon, x86_64 with AVX-512"
    assert processor(f"flags\t\t: {flags['x86-64-v2']}\n") == "x86_64 with SSE4.2 (no AVX2)"
    assert processor("") == "x86_64 with unknown vector instructions"


def test_a_larger_batch_takes_more_memory() -> None:
    small, large = peaks_of(PLAIN, [Point(4, 32), Point(64, 32)])
    # 64 patches are 1 MiB; eight couplings keep many times that for the gradient.
    assert large["training"] > 8 * 8
    assert large["training"] > 3 * small["training"]


def test_what_a_gpu_is_measured_by_holds_on_a_cpu() -> None:
    (row,) = gpu_rows("cpu", (2,), ("noise_flow, eager",), side=8, can=Machine(1e9, 1e9))
    assert row.difference == 0
    assert row.patches_s > 0
    assert row.copied == row.bytes_s / 1e9
    assert "| `noise_flow` | 2 |" in gpu_page([row], "cpu")
    source = torch.rand(10, 10)
    with Moved() as moved:
        source.t()[2:]
        (source.t() + 1).sum()
    # A view moves nothing; 100 values are read and 100 written, then read again and one written.
    assert moved.bytes == 4 * (200 + 101)


def test_the_work_of_a_pixel_is_counted_by_hand() -> None:
    model = built("noise_flow, kernels")
    # A pixel of four planes: eight times 2·4·9 + 4·4 + 4·4·9 in the net and 4·4 in the mixing.
    assert multiply_adds(model) == 8 * (72 + 16 + 144 + 16) / 4
    assert layers_of(model) == 18


def test_an_aim_is_reached_by_the_median_of_the_processes() -> None:
    kinds = {"training": (6.0, 4.0, 5.5), "sampling": (8.5, 7.5, 7.9)}
    again = [
        {what: dict(zip(AIMED, (1.0, 1 / ratios[n], 1.5 / ratios[n]), strict=True)) for what, ratios in kinds.items()}
        for n in range(3)
    ]
    told = aims(Found(TINY, {}, again, {}, {}, [], Machine(1.0, 1.0)))
    assert "5 × in training: 5.50 × (4.00 to 6.00), met" in told
    assert "8 × in sampling: 7.90 × (7.50 to 8.50), missed" in told
    assert "it takes 1.5 × in training and 1.5 × in sampling" in told

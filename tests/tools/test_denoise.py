"""The denoising table in a tiny form: the design is paired, cells are kept, the page is whole."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from noiseflow.core.errors import DataError
from tools.denoise import Place, cells_of, main
from tools.denoising.cameras import Simulated
from tools.denoising.moments import moments
from tools.denoising.networks import NETWORKS, build_network
from tools.denoising.page import differences, table, verdict
from tools.denoising.sources import source
from tools.denoising.spec import read_spec
from tools.denoising.training import Settings, batches, held_out, scores, train

SPEC = """
seeds = 2
noises = ["gaussian", "eld", "true noise"]
fit = { gaussian = { epochs = 1 } }
[training]
steps = 3
batch = 2
crop = 16
[[camera]]
name = "A7S2 in the dark"
simulate = "Sony A7S2"
isos = [1600]
light = 0.01
size = [48, 64]
crops = [1, 1]
scenes = 10
frames = 1
networks = ["dncnn"]
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(SPEC, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_keeps_the_shape_and_every_parameter_gets_a_gradient(name: str) -> None:
    network = build_network(name, seed=0)
    # What starts at zero lets nothing through behind it.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    for shape in ((2, 4, 16, 16), (1, 4, 17, 23)):
        noisy = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        denoised = network(noisy)
        assert denoised.shape == noisy.shape
    denoised.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_starting_weights_hang_on_the_seed_alone(name: str) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (torch.cat([p.flatten() for p in build_network(name, s).parameters()]) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_perfect_denoiser_scores_one_and_a_known_error_its_psnr() -> None:
    clean = np.random.default_rng(0).uniform(0.2, 0.8, (4, 32, 32))
    assert scores(clean + 0.1, clean)["psnr"] == pytest.approx(20.0)
    assert scores(clean + 1e-6, clean)["ssim"] == pytest.approx(1.0)


def test_every_noise_meets_the_same_crops_and_the_same_weights(tmp_path: Path) -> None:
    camera = Simulated(tmp_path, 0.01, (48, 64), (1, 1), "Sony A7S2", (800.0, 1600.0), 10, 1)
    camera.prepare()
    settings = Settings(steps=3, batch=2, crop=16)
    seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    starts = []
    for noise in ("eld", "true noise"):
        expose = source(camera, noise)
        seen[noise] = []

        def spy(clean: torch.Tensor, iso: torch.Tensor, seed: int, noise: str = noise, expose=expose) -> torch.Tensor:
            noisy = expose(clean, iso, seed)
            seen[noise].append((clean, noisy))
            return noisy

        network = build_network("dncnn", seed=5)
        starts.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
        train(camera, network, spy, settings, seed=5)
    assert torch.equal(*starts)
    assert sum(len(clean) for clean, _ in seen["eld"]) == settings.steps * settings.batch
    for (clean, modelled), (same, true) in zip(*seen.values(), strict=True):
        assert torch.equal(clean, same)
        assert not torch.equal(modelled, true)
        # Whole codes, as the camera stores them.
        for noisy in (modelled, true):
            codes = noisy.double() * (camera.white - camera.black) + camera.black
            assert (codes - codes.round()).abs().max() < 2e-3
    other = next(batches(camera.train(), camera.isos, settings, seed=6))[0]
    assert not torch.equal(other, seen["eld"][0][0])
    # What is scored is no picture of the training, and is the same for all.
    pictures = [clean for clean, *_ in held_out(camera)]
    assert len(pictures) == 2 * 2
    for first, second in zip(held_out(camera), held_out(camera), strict=True):
        assert np.array_equal(first[1], second[1])


def test_the_page_is_made_and_what_is_finished_is_not_done_again(tmp_path: Path, spec: Path) -> None:
    out, work = tmp_path / "docs" / "denoising.md", tmp_path / "w"
    command = [str(out), "--spec", str(spec), "--work", str(work)]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    page = out.read_text("utf-8")
    assert "| trained with noise of | seeds | PSNR, dB | SSIM | against true noise, dB |" in page
    for noise in ("| (not denoised) |", "| `gaussian` |", "| `eld` |", "| true noise |"):
        assert noise in page
    assert (out.parent / "images" / "denoising.png").stat().st_size > 10_000
    cells = sorted((work / "0" / "cells").glob("*.json"))
    assert len(cells) == 3 * 2
    before = {cell: cell.stat().st_mtime_ns for cell in cells}
    # Stopped before the last two, one of them of other settings.
    cells[0].unlink()
    stale = json.loads(cells[1].read_text())
    cells[1].write_text(json.dumps({**stale, "key": "of other settings"}))
    assert CliRunner().invoke(main, command, catch_exceptions=False).exit_code == 0
    after = {cell: cell.stat().st_mtime_ns for cell in cells}
    assert [cell for cell in cells if after[cell] == before[cell]] == cells[2:]
    again = out.read_text("utf-8")
    tables = [[line for line in text.splitlines() if line.startswith("|")] for text in (page, again)]
    assert tables[0] == tables[1]


def test_differences_are_paired_by_seed(spec: Path) -> None:
    wanted = read_spec(spec)
    records = {
        ("dncnn", noise, seed): {"psnr": 30 + 5 * seed + gap, "ssim": 0.9}
        for noise, gap in (("gaussian", -2.0), ("eld", -0.25), ("true noise", 0.0))
        for seed in range(2)
    }
    assert differences(wanted, wanted.cameras[0], "dncnn", "eld", records).tolist() == [-0.25, -0.25]
    rows = list(table(wanted, wanted.cameras[0], "dncnn", records))
    assert rows[3] == "| `eld` | 2 | 32.250 ± 3.536 | 0.9000 ± 0.0000 | -0.250 ± 0.000 |"


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ([0.01, -0.02, 0.0], "reached: -0.003 dB, with -0.041 to +0.035 dB"),
        # Better by far is within.
        ([0.3, 0.31], "reached: +0.305"),
        ([-0.3, -0.31, -0.29], "missed: -0.300"),
        ([-0.4, 0.1, 0.0], "not decided: -0.100"),
        ([0.0], "not decided by one seed"),
    ],
)
def test_the_verdict_hangs_on_the_interval_of_the_paired_differences(spec: Path, gaps: list[float], said: str) -> None:
    wanted = replace(read_spec(spec), seeds=len(gaps))
    records = {("dncnn", noise, seed): {"psnr": 30.0 + seed} for noise in ("true noise",) for seed in range(len(gaps))}
    records |= {("dncnn", "eld", seed): {"psnr": 30.0 + seed + gap} for seed, gap in enumerate(gaps)}
    assert said in " ".join(verdict(wanted, wanted.cameras[0], "dncnn", records, "eld"))


def test_more_seeds_go_to_the_noises_that_are_named(spec: Path, tmp_path: Path) -> None:
    spec.write_text(SPEC + 'more_seeds = { eld = 4, "true noise" = 3 }\n', encoding="utf-8")
    wanted = read_spec(spec)
    cells = list(cells_of(wanted, [Place(wanted.cameras[0], tmp_path, tmp_path)]))
    # All noises have the first seeds before any has more.
    assert [(cell.noise, cell.seed) for cell in cells[6:]] == [("eld", 2), ("true noise", 2), ("eld", 3)]
    records = {("dncnn", cell.noise, cell.seed): {"psnr": 30.0 + cell.seed, "ssim": 0.9} for cell in cells}
    assert len(differences(wanted, wanted.cameras[0], "dncnn", "eld", records)) == 3
    assert len(differences(wanted, wanted.cameras[0], "dncnn", "gaussian", records)) == 2
    spec.write_text(SPEC + "more_seeds = { nlf = 4 }\n", encoding="utf-8")
    with pytest.raises(DataError, match="more_seeds names nlf"):
        read_spec(spec)


def test_moments_are_those_of_a_known_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Simulated(tmp_path, 0.01, (48, 64), (1, 1), "Sony A7S2", (800.0, 1600.0), 10, 1)
    span = camera.white - camera.black

    def laplace_and_rows(clean: torch.Tensor, iso: torch.Tensor, seed: int) -> torch.Tensor:
        assert set(iso.tolist()) == {1600.0}
        rng = np.random.default_rng(seed)
        noise = rng.laplace(0, 3 / 2**0.5, clean.shape) + 4 * rng.standard_normal((*clean.shape[:-1], 1))
        return clean + torch.from_numpy(noise / span)

    monkeypatch.setattr("tools.denoising.moments.source", lambda camera, noise: laplace_and_rows)
    of = moments(camera, "any")
    # 15 pictures of 4 × 48 rows: σ of the rows has a standard error of 1.3 %; of the others, the rows' too.
    assert of.row_dn == pytest.approx((16 + 9 / 64) ** 0.5, rel=0.05)
    assert of.dark_dn == pytest.approx(5, rel=0.06)
    assert of.bright_dn == pytest.approx(5, rel=0.3)
    # Of Laplace's 3, less what the Gaussian rows add: 3 · (9/25)².
    assert of.kurtosis == pytest.approx(3 * (9 / 25) ** 2, abs=0.25)


def test_a_spec_without_the_truth_or_with_an_unknown_entry_is_refused(spec: Path) -> None:
    for old, new, what in (('"eld", "true noise"', '"eld"', "true noise"), ("light =", "lamp =", "lamp")):
        spec.write_text(SPEC.replace(old, new), encoding="utf-8")
        with pytest.raises(DataError, match=what):
            read_spec(spec)

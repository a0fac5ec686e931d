"""The table of burst denoisers: the camera is what it says, noises meet the same crops, the page keeps the rest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from noiseflow.models import ModelSpec, TemporalNoise, build, temporal_spec
from tools.denoising import bursts
from tools.denoising.burst_camera import INDEPENDENT, ISO, OURS, TRUE, VideoCamera, burst_source
from tools.denoising.bursts import BurstDnCNN, BurstSettings, main, section, steps_of, verdict

TINY = BurstSettings(steps=3, batch=2, crop=16, seeds=2)


def temporal() -> TemporalNoise:
    """Any model with a memory, its noise 10 e⁻ in the dark."""
    model = build(temporal_spec(ModelSpec("nlf", "mono", ("video",), (ISO,)), ["dark_pattern", "light_flicker"]))
    assert isinstance(model, TemporalNoise)
    camera = VideoCamera()
    with torch.no_grad():
        model.frame.log_beta2.fill_(2 * np.log(10 * camera.gain / camera.span))  # type: ignore[operator, union-attr]
        model.parts["dark_pattern"].log_sigma.fill_(np.log(8 * camera.gain / camera.span))  # type: ignore[operator, union-attr]
    return model.eval()


def test_the_camera_s_noise_is_that_of_its_numbers() -> None:
    """σ of 60,000 pixels: each ratio within 3 % (seven standard errors of it, at least)."""
    camera = VideoCamera(prnu=0.1, flicker=0.0, black=600.0)
    level = 50.0
    clean = np.full((1, 200, 300), level * camera.gain / camera.span)
    electrons = (camera.expose(clean, 4, np.random.default_rng(0))[0] * camera.span / camera.gain).astype(np.float64)
    own = camera.dsnu**2 + (camera.prnu * level) ** 2
    shot = level + camera.read**2 + 1 / 12 / camera.gain**2
    assert float(electrons.var()) == pytest.approx(own + shot, rel=0.03)
    assert float(np.cov(electrons[0].ravel(), electrons[3].ravel())[0, 1]) == pytest.approx(own, rel=0.05)
    lamps = (
        VideoCamera(flicker=0.2).expose(np.full((400, 16, 16), 0.02), 3, np.random.default_rng(1)).mean((2, 3)) / 0.02
    )
    assert float(lamps.std()) == pytest.approx(0.2, rel=0.1)
    assert float(np.corrcoef(lamps[:, 0], lamps[:, 1])[0, 1]) == pytest.approx(0.7, abs=0.12)
    assert float(np.corrcoef(lamps[:, 0], lamps[:, 2])[0, 1]) == pytest.approx(0.49, abs=0.16)


def test_frames_of_a_burst_share_the_pattern_only_where_the_noise_has_one() -> None:
    clean = torch.full((3, 1, 40, 40), 0.01)
    found = {}
    for noise in (TRUE, OURS, INDEPENDENT):
        burst = burst_source(VideoCamera(), noise, 5, temporal())(clean, 1)
        assert burst.shape == (3, 5, 40, 40)
        codes = burst.double() * VideoCamera().span + VideoCamera().black
        assert (codes - codes.round()).abs().max() < 2e-3
        found[noise] = float(torch.corrcoef(burst[:, [0, 4]].transpose(0, 1).flatten(1))[0, 1])
    assert 0.2 < found[TRUE] < 0.4
    assert 0.4 < found[OURS] < 0.6
    assert abs(found[INDEPENDENT]) < 0.06


def test_every_noise_meets_the_same_crops_and_starts_near_the_mean() -> None:
    clean = bursts.pictures(("camera",), 1, (24, 32), 1)
    ours, true = (
        list(steps_of(clean, burst_source(VideoCamera(), each, 5, temporal()), TINY, 7)) for each in (OURS, TRUE)
    )
    assert len(ours) == TINY.steps
    for (one, noisy), (other, real) in zip(ours, true, strict=True):
        assert torch.equal(one, other)
        assert noisy.shape == real.shape == (2, 5, 16, 16)
        assert not torch.equal(noisy, real)
    torch.manual_seed(0)
    burst = torch.rand(2, 5, 16, 16)
    apart = (BurstDnCNN()(burst) - burst.mean(1, keepdim=True)).detach().std()
    assert 0 < float(apart) < 0.5


def test_the_table_and_the_verdict_are_of_paired_differences() -> None:
    found = {
        TRUE: np.array([30.0, 31.0, 32.0]),
        OURS: np.array([29.98, 31.0, 31.99]),
        INDEPENDENT: np.array([29.5, 30.6, 31.5]),
    }
    lines = list(section(replace(TINY, seeds=3), ["dark_pattern"], found))
    assert "| `temporal` | 3 | 30.990 ± 1.005 | -0.010 (-0.035 to +0.015) |" in lines
    assert "| true noise | 3 | 31.000 ± 1.000 |  |" in lines
    assert verdict(found).endswith("is reached; independent frames are worse by more than their interval.")
    missed = {**found, OURS: found[OURS] - 0.5, INDEPENDENT: found[TRUE]}
    assert "is missed; independent frames are not surely worse" in verdict(missed)
    assert "is not decided" in verdict({**found, OURS: found[TRUE] + np.array([-0.5, 0.0, 0.1])})


def test_the_page_keeps_what_is_not_between_the_marks_and_trainings_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bursts, "fit_models", lambda camera, folder: temporal())
    page = tmp_path / "denoising.md"
    page.write_text("# Before\n\n<!-- bursts -->\n\nold\n\n<!-- /bursts -->\n\nafter\n", encoding="utf-8")
    command = [str(page), "--work", str(tmp_path / "w"), "--seeds", "2", "--steps", "2"]
    assert CliRunner().invoke(main, command, catch_exceptions=False).exit_code == 0
    text = page.read_text("utf-8")
    assert text.startswith("# Before")
    assert text.endswith("after\n")
    assert "old" not in text
    for row in ("| (mean of the frames) |", "| independent frames | 2 |", "| `temporal` | 2 |", "| true noise | 2 |"):
        assert row in text
    records = sorted((tmp_path / "w").glob("*.json"))
    assert len(records) == 6
    before = [record.stat().st_mtime_ns for record in records]
    assert CliRunner().invoke(main, command, catch_exceptions=False).exit_code == 0
    assert [record.stat().st_mtime_ns for record in records] == before
    assert page.read_text("utf-8") == text

"""The study of noise in time: its cameras have the density that is called the truth, and its tables their rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.stats import multivariate_normal

from noiseflow.evaluate.statistics.intervals import Interval
from tools.studies.in_time import __main__ as command, planted, streaming
from tools.studies.in_time.planted import BETA2, CAMERAS, Camera, Row, measure, regions, table
from tools.studies.in_time.streaming import Cost, Held, costs, growth

FRAMES, SIDE = 3, 8


def of_glow() -> np.ndarray:
    """Covariance of the innovations in time order, from the words of `glow`."""
    steps, at = np.arange(FRAMES), np.arange(SIDE)
    line = np.exp(-0.5 * ((at[:, None] - at) / 8.0) ** 2) + 1e-9 * np.eye(SIDE)
    in_time = 0.95 ** np.abs(steps[:, None] - steps)
    return np.asarray(0.04 * np.kron(in_time, np.kron(line, line)) + np.eye(FRAMES * SIDE**2))


def of_regions() -> np.ndarray:
    """The same of `regions`, with one block."""
    steps = np.arange(FRAMES)
    in_time = 0.9 ** np.abs(steps[:, None] - steps) - np.eye(FRAMES)
    return np.asarray(np.kron(in_time, np.full((SIDE**2, SIDE**2), 1 / SIDE**2)) + np.eye(FRAMES * SIDE**2))


@pytest.mark.parametrize(("camera", "covariance"), [(planted.glow, of_glow), (regions, of_regions)])
def test_the_gain_of_a_camera_is_that_of_its_covariance(
    camera: Camera, covariance: Callable[[], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted, "FRAMES", FRAMES)
    monkeypatch.setattr(planted, "SIDE", SIDE)
    noise, gain = camera(torch.zeros(400), 1)
    w = (noise.double() / BETA2**0.5).flatten(1).numpy()
    expected = covariance()
    # 400 draws: each variance along the eigenvectors within six of its standard errors.
    values, vectors = np.linalg.eigh(expected)
    assert np.abs(((w @ vectors) ** 2).mean(0) / values - 1).max() < 6 * (2 / 400) ** 0.5
    alone = multivariate_normal(cov=np.eye(len(expected)))
    law = multivariate_normal(cov=expected)
    assert gain.numpy() == pytest.approx(law.logpdf(w) - alone.logpdf(w), abs=1e-3)


def test_a_camera_is_fitted_and_scored_on_other_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TILES": 6, "FRAMES": 4, "SIDE": 16}.items():
        monkeypatch.setattr(planted, name, value)
    fit = planted.fit_temporal
    monkeypatch.setattr(planted, "fit_temporal", lambda frame, data: fit(frame, data, ["dark_pattern"]))
    row = measure("dark_pattern", CAMERAS["dark_pattern"])
    assert row.lost.value > 0.002
    assert abs(row.gap.value) < row.lost.value
    assert row.one_level is None


def test_the_tables_have_a_row_each() -> None:
    near, far = Interval(0.0004, 1e-4, 0.0001, 0.0007, 20), Interval(0.05, 1e-3, 0.047, 0.053, 20)
    text = table([Row("blocks", ("block_flow",), near, far, far), Row("none", (), near, far, None)])
    assert "| blocks | block_flow | +0.00040 (+0.00010 to +0.00070) | +0.05000 (+0.04700 to +0.05300) | +0.05" in text
    assert "| none | none | +0.00040 (+0.00010 to +0.00070) |  | +0.05000" in text
    text = streaming.table([Cost("nlf", "all", "key", 0.010, 0.013)], [Held(2.07, (10, 20, 60), (1.0, 1.0, 1.5))])
    assert "| `nlf` | all | key | 10.0 | 13.0 | 1.30 |" in text
    assert "2.1-megapixel frames with all parts: 1.0 MiB after 10, 1.0 MiB after 20, 1.5 MiB after 60 frames." in text


def test_costs_are_of_every_model_and_source() -> None:
    found = list(costs(1, (4, 6)))
    assert len(found) == len(streaming.FRAME_MODELS) * len(streaming.MEMORIES) * 2
    assert all(each.independent > 0 and each.stream > 0 for each in found)
    held = growth((4, 6), 30)
    assert held.frames == (10, 20, 30)
    assert held.mebibytes[2] < held.mebibytes[0] + 20


def test_the_page_keeps_what_is_not_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "of_planted", lambda only: f"table of {only}")
    page = tmp_path / "video.md"
    page.write_text("before\n<!-- in time: planted -->\nold\n<!-- /in time: planted -->\nafter\n", encoding="utf-8")
    run = CliRunner()
    assert run.invoke(command.main, [str(page), "--of", "planted"], catch_exceptions=False).exit_code == 0
    assert page.read_text("utf-8").split("\n\n")[1] == "table of ()"
    whole = page.read_text("utf-8")
    found = run.invoke(command.main, [str(page), "--of", "planted", "--only", "x"], catch_exceptions=False)
    assert "table of ('x',)" in found.output
    assert page.read_text("utf-8") == whole
    assert run.invoke(command.main, [str(page), "--of", "stacks"]).exit_code == 2

"""Where the default model's parts start, on small made patches, beside the numbers of this release.

That what was planted is found is tested in `physics`; these see that no number of the way there moves.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from model_table import generator
from torch import Tensor

from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.neighbour_filter import NeighbourFilter
from noiseflow.flows.camera.row_memory import RowMemory
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.camera.sinh_arcsinh import SinhArcsinh
from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.flow.starts import bend, codes, frame, neighbours, planes, rows, telegraph
from tools.checks.pinned import assert_pinned

HERE = Path(__file__).parent
ISOS, SIDE, SPAN = (100.0, 400.0), 16, 959.0
FRAMES, BANDS, ACROSS = 4, 4, 2
COUNT = FRAMES * BANDS * ACROSS
PLACE = torch.arange(COUNT)
PLACES = torch.stack([PLACE // (BANDS * ACROSS), SIDE * (PLACE // ACROSS % BANDS)], 1)
CAMERA = torch.zeros(COUNT, dtype=torch.long)


def head() -> ShotReadScale:
    found = ShotReadScale(4, 1, ISOS, shares_features=True).double().requires_grad_(False)
    found.log_beta1.copy_(torch.tensor([[math.log(0.002), math.log(0.008)]]))
    found.log_beta2.copy_(torch.tensor([[math.log(2e-5), math.log(1e-4)]]))
    return found


def patches(
    bent: float = 0.0, memory: float = 0.0, jumps: float = 0.0, masked: bool = False
) -> tuple[Tensor, Resolved]:
    """Noise of two ISOs with row offsets that last, light that flickers, pixels that jump, and a bent response."""
    draw = generator(20)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    clean = torch.rand(COUNT, 1, 1, 1, generator=draw, dtype=torch.float64) ** 2
    clean = clean * torch.tensor([0.6, 1.0, 1.0, 0.8]).double()[:, None, None] + 0.02 * torch.rand(
        COUNT, 4, SIDE, SIDE, generator=draw, dtype=torch.float64
    )
    iso = torch.where(PLACES[:, 0] % 2 == 0, *(torch.tensor(each).double() for each in ISOS))
    observed = torch.rand(clean.shape, generator=draw) > 0.1 if masked else None
    cond = Resolved(clean, iso, CAMERA, observed)
    shot = head()
    beta1, beta2 = shot.betas(cond)
    noise = (beta1 * clean * (bent * clean).exp() + beta2).sqrt() * normal(*clean.shape)
    length = BANDS * SIDE
    fresh, lasting = normal(FRAMES, 2, length), [normal(FRAMES, 2)]
    for _ in range(length - 1):
        lasting.append(0.95 * lasting[-1] + (1 - 0.95**2) ** 0.5 * normal(FRAMES, 2))
    offsets = 0.3 * fresh + memory * torch.stack(lasting, 2) + memory * normal(FRAMES, 1, 1)
    of_patch = offsets[PLACES[:, 0]].unfold(2, SIDE, SIDE)[torch.arange(COUNT), :, PLACES[:, 1] // SIDE]
    light = 0.01 * normal(FRAMES, length).unfold(1, SIDE, SIDE)[PLACES[:, 0], PLACES[:, 1] // SIDE]
    noise = noise + beta2.sqrt() * of_patch.repeat_interleave(2, 1)[..., None] + clean * light[:, None, :, None]
    hit = torch.rand(clean.shape, generator=draw) < jumps
    return noise + 8 * beta2.sqrt() * hit * normal(*clean.shape).sign(), cond


def weights(part: torch.nn.Module) -> dict[str, Any]:
    return {name: value.flatten().tolist() for name, value in part.state_dict().items()}


@pytest.fixture
def unclimbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likelihoods are compared where their maximisation starts: its end depends on the last digits."""
    monkeypatch.setattr(rows, "_maximise", lambda *_, **__: None)


@pytest.mark.usefixtures("unclimbed")
@torch.no_grad()
def test_rows_and_planes() -> None:
    noise, cond = patches(memory=0.5, masked=True)
    found: dict[str, Any] = {}
    whole = head()
    planes.start_planes(whole, *patches(memory=0.5))
    found["planes of all"] = weights(whole)
    shot, plain = head(), LineNoise(4, 1, ISOS, in_read_noise=True).double().requires_grad_(False)
    planes.start_planes(shot, noise, cond)
    found["planes"] = weights(shot)
    shot = head()
    chosen = rows.choose_rows(shot, plain, noise, cond, PLACES, planes=4)
    found["rows"] = [chosen.options, chosen.notes, weights(chosen.rows), weights(shot)]
    memory = RowMemory(4, 1, ISOS).double().requires_grad_(False)
    data, shared = rows._bands(shot, chosen.rows, noise, cond, PLACES)  # type: ignore[arg-type]
    assert data.tall is not None
    found["bands"] = [data.sums.flatten(1).sum(1).tolist(), data.values, data.tall.sums.flatten(1).sum(1).tolist()]
    found["shared"] = shared.flatten().tolist()
    found["gain"] = rows._held_out_gain(memory, chosen.rows, data)  # type: ignore[arg-type]
    found["memory"] = weights(memory)
    within, seen = rows.within_lines(noise, 4, cond.observed)
    across, _ = rows.within_lines(noise, 4, cond.observed, "column")
    found["within"] = [float(each.square().mean()) for each in (within, across, noise)]
    found["seen"] = None if seen is None else int(seen.sum())
    found["less"] = rows.less_offsets(torch.zeros(1, 3), torch.tensor([[0.2, 0.89, 0.95]])).tolist()
    found["hidden"] = [rows.hides_read_noise(chosen.rows, strong) for strong in (0.01, 1.0)]
    assert_pinned(found, HERE / "rows.json")


@pytest.mark.usefixtures("unclimbed")
def test_rows_among_neighbours() -> None:
    noise, cond = patches(memory=0.5)
    noise = noise + 0.1 * noise.roll(1, 3)
    grid = NeighbourFilter(4, 1, ISOS).double().requires_grad_(False)
    plain = LineNoise(4, 1, ISOS, in_read_noise=True).double().requires_grad_(False)
    shot = head()
    grid.start_from(shot(noise, cond)[0], cond)
    rows.start_lines(shot, plain, noise, cond, PLACES)
    chosen = neighbours.rows_among_neighbours(shot, plain, grid, noise, cond, PLACES, planes=4)
    assert_pinned([weights(grid), chosen.options, chosen.notes, weights(chosen.rows)], HERE / "neighbours.json")


def test_bend_and_jumps() -> None:
    noise, cond = patches(bent=0.8, jumps=0.01, masked=True)
    chosen = bend.choose_bend(head(), noise, cond, PLACES, planes=4)
    found: dict[str, Any] = {"bend": [chosen.note, weights(chosen.head)]}
    shot, cubic = head(), CubicTails(1, ISOS, by_read_share=True).double().requires_grad_(False)
    x, parameters = shot(noise, cond)[0], shot.noise_parameters(cond)
    cubic.start_from(x, cond, parameters)
    found["cubic"] = weights(cubic)
    values = telegraph._values(x, cond, parameters, torch.arange(0, COUNT, 6))
    size = values.x.flatten().clone()
    size[:3] = torch.tensor([59.0, 61.0, 500.0])
    cells = telegraph._cells(size, parameters.read_share().flatten()[: len(size)].clamp(max=1))
    # Values beyond 60 count as 60.
    assert float(cells.x.max()) == pytest.approx(60, abs=0.7)
    start = torch.tensor([[-4.0, -6.0], [1.4, 2.0], [0.5, 0.2]]).double()
    skew = SinhArcsinh(1, ISOS).double().requires_grad_(False)
    gain = telegraph._density(cubic, skew, values)
    found["cells"] = [cells.x.tolist(), cells.share.tolist(), cells.count.tolist(), float(telegraph._nll(start, cells))]
    found["gain"] = [telegraph._mean_and_error(gain, values.patch), telegraph._mean_and_error(gain, 0 * values.patch)]
    assert_pinned(found, HERE / "bend.json")


def test_codes_and_frames() -> None:
    noise, cond = patches(memory=0.5)
    levels = Levels(torch.full((COUNT, 4), 64.0).double(), torch.full((COUNT,), 64.0 + SPAN).double())
    dn = levels.codes(noise, cond.clean)
    found: dict[str, Any] = {}
    shot, lines = head(), LineNoise(4, 1, ISOS, start=0.2, in_read_noise=True).double().requires_grad_(False)
    found["passed"] = codes.offsets_in_codes(shot, dn, cond, levels).tolist()
    before = shot.log_beta2.clone()
    codes.subtract_rounding(shot, cond, levels)
    found["less rounding"] = weights(shot)
    codes.keep_offsets(shot, [lines], before)
    found["kept"] = [weights(shot), weights(lines)]
    runs = frame.runs_of_bands(PLACES[::ACROSS][torch.arange(FRAMES * BANDS) != 3], SIDE, 8)
    found["runs"] = [list(runs.shape), runs.tolist()]
    flicker = RowMemory(4, 1, ISOS).double().requires_grad_(False)
    sums = flicker.sums(head()(noise, cond)[0], head().noise_parameters(cond))
    index = (cond.iso > 200).long()
    none = torch.full((2, 1, 2), 1e-14, dtype=torch.float64)
    found["shared"] = frame.shared_by_frames(sums, index, cond.camera, PLACES, none).flatten().tolist()
    assert_pinned(found, HERE / "codes.json")

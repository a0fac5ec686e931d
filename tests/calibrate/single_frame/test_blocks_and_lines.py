"""Blocks, cells, lines and row offsets of one picture, each by plain loops over the same numbers."""

import numpy as np
import pytest
from scipy.fft import dctn

from noiseflow.calibrate.measurement import root
from noiseflow.calibrate.single_frame import cells as cells_module
from noiseflow.calibrate.single_frame.blocks import Blocks, block_energies, coefficients_at, stride_for
from noiseflow.calibrate.single_frame.cells import Cells, Chosen, choose, evenly, first_line, gather, line_of
from noiseflow.calibrate.single_frame.row_noise import row_noise_of
from noiseflow.calibrate.single_frame.variance_line import SPREADS, VarianceLine, fit_variance_line

RNG = np.random.default_rng(8)
NONE = np.zeros((2, 2))


def straight(floor: float, gain: float, spread: float = 0.0) -> VarianceLine:
    return VarianceLine(floor, gain, spread, NONE, 0.0)


@pytest.mark.parametrize(
    ("shape", "stride"), [((800, 800), 4), ((800, 801), 8), ((64, 64), 4), ((4, 800, 800), 4), ((4, 800, 808), 8)]
)
def test_blocks_overlap_by_half_where_there_are_few(shape: tuple[int, ...], stride: int) -> None:
    assert stride_for(shape) == stride


def test_energies_are_means_over_sets_of_cosine_coefficients() -> None:
    plane = RNG.normal(900, 30, (20, 28)).astype(np.float32)
    found = block_energies(plane, 512.0)
    assert (found.grid, found.stride) == ((4, 6), 4)
    picked = coefficients_at(plane, found, np.array([7, 23]))
    for number in range(24):
        row, column = 4 * (number // 6), 4 * (number % 6)
        block = plane[row : row + 8, column : column + 8].astype(float) - 512
        table = dctn(block, norm="ortho")
        sets: dict[str, list[float]] = {"high": [], "middle": [], "active": []}
        for i in range(8):
            for j in range(8):
                if i + j >= 2:
                    sets["active"].append(table[i, j] ** 2)
                if i and j and i + j >= 7:
                    sets["high"].append(table[i, j] ** 2)
                if i and j and 3 <= i + j <= 6:
                    sets["middle"].append(table[i, j] ** 2)
        assert found.mean[number] == pytest.approx(block.mean(), rel=1e-4)
        for name, squares in sets.items():
            assert getattr(found, name)[number] == pytest.approx(np.mean(squares), rel=1e-4)
        if number in (7, 23):
            with_black = dctn(block + 512, norm="ortho")
            assert picked[[7, 23].index(number)] == pytest.approx(with_black, rel=1e-4, abs=2e-3)


def test_a_line_s_variance_is_a_parabola_of_a_hundredth_at_least() -> None:
    line = straight(4.0, 0.5, 0.01)
    assert line.at(np.array([0.0, 100.0, -50.0])) == pytest.approx([4.0, 4 + 50 + 1, 4.0])
    assert straight(-60.0, 0.5).at(np.array([100.0, 130.0])) == pytest.approx([0.01, 5.0])


def test_the_line_is_the_posterior_mean_over_spreads() -> None:
    x = np.linspace(50, 4000, 9)
    error = 0.01 * (20 + 0.4 * x)
    y = 20 + 0.4 * x + (0.008 * x) ** 2 + error * np.array([1, -1, 0.5, -2, 1.2, 4.0, -0.7, 1.0, -0.4])
    found = fit_variance_line(x, y, error)
    weight = np.ones(9)
    for _ in range(8):
        rows, logs = [], []
        for t in SPREADS:
            design = np.stack([np.ones(9), x], 1)
            normal = design.T @ np.diag(weight / error**2) @ design
            one = np.linalg.solve(normal, design.T @ (weight / error**2 * (y - (t * x) ** 2)))
            rest = y - (t * x) ** 2 - design @ one
            rows.append(one)
            logs.append(-0.5 * float((weight * (rest / error) ** 2).sum()) - t / 0.006)
        part = np.exp(np.array(logs) - max(logs))
        part /= part.sum()
        line = part @ np.array(rows)
        spread = float(part @ SPREADS**2) ** 0.5
        z = (y - line[0] - line[1] * x - (spread * x) ** 2) / error
        # Those above the line weigh less from one and a half errors on.
        weight = np.array([min(1.0, 1.5 / each) if each > 0 else 1.0 for each in z])
    assert (found.floor, found.gain) == pytest.approx(line)
    assert found.spread == pytest.approx(spread)
    between = sum(p * np.outer(row - line, row - line) for p, row in zip(part, rows, strict=True))
    assert found.covariance == pytest.approx(np.linalg.inv(normal) + between)
    assert found.chi2 == pytest.approx(float((weight * z**2).sum()) / 6)
    assert (z > 1.5).any()


def blocks_of(mean: np.ndarray, high: np.ndarray, grid: tuple[int, int], stride: int = 8) -> Blocks:
    active = high * (1 + 0.2 * np.sin(np.arange(len(mean))))
    return Blocks(grid, stride, mean, high, high * 1.1, active)


def test_cells_are_even_in_the_root_and_fewer_where_blocks_are_few() -> None:
    assert evenly(np.zeros(0)).shape == (0,)
    mean = np.arange(0.0, 400.0) ** 2
    # 400 blocks of which 60 make a cell.
    assert evenly(mean).tolist() == [int(6 * root / (399 + 1e-9)) for root in range(400)]
    assert evenly(mean[:100]).max() == 4
    assert evenly(np.linspace(0, 9, 2000)).max() == 15
    assert evenly(np.array([-5.0, 0.0, 1.0])).tolist() == [0, 0, 4]


def test_a_start_is_the_line_through_the_quiet_tenth_of_each_signal() -> None:
    mean = np.repeat(np.arange(1.0, 17) * 100, 40)
    high = (30 + 0.5 * mean) * RNG.chisquare(34, 640) / 34
    top = 2000.0
    found = first_line(
        [blocks_of(mean[:320], high[:320], (1, 320)), blocks_of(mean[320:], high[320:], (1, 320))], [top, top]
    )
    low = np.array([np.quantile(high[mean == level], 0.1) / 0.7 for level in np.unique(mean)])
    levels = np.unique(mean)
    expected = fit_variance_line(levels, low, 0.1 * low + 1e-3)
    assert (found.floor, found.gain) == pytest.approx((expected.floor, expected.gain), rel=0.05)
    # A plane at nine tenths of saturation says nothing.
    nothing = first_line([blocks_of(mean, high, (1, 640))], [100 / 0.9])
    assert (nothing.floor, nothing.gain) == (1.0, 0.0)
    some = first_line([blocks_of(mean, high, (1, 640))], [200 / 0.9])
    assert (some.floor, some.gain) == (pytest.approx(low[0]), 0.0)
    falling = first_line([blocks_of(mean, 2000 - mean, (1, 640))], [top])
    assert (falling.floor, falling.gain) == (pytest.approx(400 / 0.7), 0.0)
    quiet = first_line([blocks_of(mean[:40], np.zeros(40), (1, 40))], [top])
    assert quiet.floor == 0.01


@pytest.mark.parametrize("levels", [3, 4])
def test_a_start_is_a_line_from_three_cells_on(levels: int) -> None:
    """The brightest level shares the cell of the one below it."""
    # Of 113 blocks every sixteenth part ends at one of them.
    mean = 100.0 * (1 + np.arange(113) * levels // 113)
    found = first_line([blocks_of(mean, 0.7 * (30 + 0.5 * mean), (1, len(mean)))], [2000.0])
    # The cell of two levels has their mean signal, and the quietest tenth of its blocks is of the darker one.
    signal, low = np.array([100.0, 200.0, mean[mean >= 300].mean()]), np.array([80.0, 130.0, 180.0])
    line = fit_variance_line(signal, low, 0.1 * low + 1e-3)
    expected = (line.floor, line.gain) if levels == 4 else (80.0, 0.0)
    assert (found.floor, found.gain) == pytest.approx(expected, rel=1e-6)


def chosen_by_loops(
    plane: int, blocks: list[Blocks], lines: list[VarianceLine], black: list[float], ceiling: list[float]
) -> np.ndarray:
    flat = np.full(len(blocks[0].mean), np.inf)
    own, expected = blocks[plane], [line.at(each.mean) for line, each in zip(lines, blocks, strict=True)]
    for b in range(len(flat)):
        told = [k for k in range(len(blocks)) if k != plane and blocks[k].mean[b] < 0.9 * ceiling[k]]
        sigma = expected[plane][b] ** 0.5
        inside = own.mean[b] + 4 * sigma < ceiling[plane] and own.mean[b] + black[plane] > 4 * sigma
        if told and inside and own.high[b] < 3 * sigma**2 and own.mean[b] > -3 * sigma:
            flat[b] = sum(blocks[k].active[b] / expected[k][b] for k in told) / len(told)
    whole = np.isfinite(flat)
    cell = np.full(len(flat), -1)
    cell[whole] = evenly(own.mean[whole])
    kept = []
    for k in range(16):
        members = np.flatnonzero(cell == k)
        if len(members) >= 12:
            limit = max(1.3, np.quantile(flat[members], 0.1))
            kept += [b for b in members if flat[b] <= limit]
    return np.sort(kept)


@pytest.mark.parametrize("black", [0.0, 64.0])
def test_flat_blocks_are_those_that_the_other_planes_show_to_be_flat(black: float) -> None:
    count = 400
    line = straight(100.0, 0.5)
    blocks = []
    for plane in range(4):
        mean = RNG.uniform(-60, 1100, count) if plane else np.sort(RNG.uniform(-60, 1040, count))
        high = line.at(mean) * RNG.uniform(0.5, 3.4, count)
        active = line.at(mean) * RNG.uniform(0.6, 2.4, count)
        blocks.append(Blocks((20, 20), 8, mean, high, high, active))
    lines, ceiling = [line, straight(80.0, 0.4), line, straight(120.0, 0.6)], [1000.0, 900.0, 1100.0, 1000.0]
    for plane in range(4):
        found = choose(plane, blocks, lines, [black] * 4, ceiling)
        assert found.index.tolist() == chosen_by_loops(plane, blocks, lines, [black] * 4, ceiling).tolist()
        assert len(found.index) > 30
    one = choose(0, blocks[:1], lines[:1], [black], ceiling[:1])
    assert not len(one.index)


@pytest.mark.parametrize("stride", [4, 8])
def test_sums_are_by_cell_and_region_and_overlap_counts_half(stride: int) -> None:
    grid = (14, 20)
    mean = RNG.uniform(0, 900, 280)
    blocks = [blocks_of(mean, RNG.uniform(50, 60, 280), grid, stride) for _ in range(2)]
    index = np.flatnonzero(RNG.uniform(size=280) < 0.8)
    cell = RNG.integers(0, 5, len(index))
    cell[np.flatnonzero(cell == 4)[5:]] = 0
    found = gather(blocks, [Chosen(index, cell), Chosen(index[:100], cell[:100])])
    part = 0.5 if stride == 4 else 1.0
    rows = 0
    for plane, taken in enumerate((slice(None), slice(100))):
        for k in range(16):
            members = index[taken][cell[taken] == k]
            if part * len(members) < 6:
                continue
            assert found.plane[rows] == plane
            for region in range(36):
                here = [b for b in members if b // 20 * 6 // 14 * 6 + b % 20 * 6 // 20 == region]
                sums = [found.count, found.signal, found.high, found.middle]
                values = [np.ones(280), mean, blocks[plane].high, blocks[plane].middle]
                for total, value in zip(sums, values, strict=True):
                    assert total[rows, region] == pytest.approx(part * value[here].sum())
            rows += 1
    assert len(found.plane) == rows
    assert found.excess == pytest.approx(np.full(rows, 0.1))
    second = found.of_plane(1)
    assert second.count.tolist() == found.count[found.plane == 1].tolist()
    assert second.middle.tolist() == found.middle[found.plane == 1].tolist()


def test_the_line_through_cells_has_texture_and_counting_in_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    count = np.array([[30.0, 10.0], [8.0, 2.0], [2.0, 4.0], [50.0, 50.0], [1.0, 1.0], [20.0, 5.0], [3.0, 0.0]])
    signal = count * np.array([100.0, 300, 500, 800, 900, 1200, 1500])[:, None]
    variance = np.array([60.0, 170, 240, 420, 440, 650, 760])[:, None]
    high, middle = count * variance, count * variance * np.array([1.0, 1.3, 0.9, 1.1, 1.2, 0.3, 1.0])[:, None]
    cells = Cells(np.zeros(7, np.intp), count, signal, high, middle)
    given: list[tuple[np.ndarray, ...]] = []
    monkeypatch.setattr(cells_module, "fit_variance_line", lambda *taken: given.append(taken))
    for left_out, leak in ((None, 0.09), (1, 0.09), (None, 0.0)):
        line_of(cells, left_out, leak=leak)
        n = count.sum(1) if left_out is None else count[:, 0]
        kept = n >= 3
        excess = np.array([0, 0.3, -0.1, 0.1, 0.2, -0.7, 0.0])[kept]
        x, y, errors = given.pop()
        assert x == pytest.approx(np.array([100.0, 300, 500, 800, 900, 1200, 1500])[kept])
        assert y == pytest.approx(variance[kept, 0] * (1 - leak * np.maximum(excess, -0.5)))
        counting = 2 / n[kept] * (1 / 34 + leak**2 / 14)
        assert errors == pytest.approx(
            variance[kept, 0] * np.sqrt(counting + (leak * np.maximum(excess, 0)) ** 2 + 0.003**2)
        )
    few = Cells(*(each[[0, 1, 3, 4]] for each in (cells.plane, count, signal, high, middle)))
    assert line_of(few) is None
    line_of(Cells(*(each[[0, 1, 3, 5]] for each in (cells.plane, count, signal, high, middle))))
    assert len(given) == 1
    dark = high.copy()
    dark[3] = 0
    assert line_of(Cells(*(each[[0, 1, 3, 5]] for each in (cells.plane, count, signal, dark, middle)))) is None


@pytest.mark.parametrize("overlap", [False, True])
def test_row_noise_is_what_products_of_blocks_of_one_row_have_in_common(overlap: bool) -> None:
    """By loops: own products less the scene's, weights by the line, twelve groups of rows left out in turn."""
    shape = (128, 96)
    planes = []
    for plane in range(4):
        offsets = np.random.default_rng(plane // 2).normal(0, 6, (128, 1))
        planes.append((500 + 3 * np.arange(96) + offsets + RNG.normal(0, 4, shape)).astype(np.float32))
    line = straight(10.0, 0.02)
    blocks = []
    for plane in planes:
        made = block_energies(plane, 0.0)
        if not overlap:
            rows, columns = np.arange(0, 31, 2), np.arange(0, 23, 2)
            kept = (rows[:, None] * 23 + columns).ravel()
            made = Blocks((16, 12), 8, *(getattr(made, name)[kept] for name in ("mean", "high", "middle", "active")))
        blocks.append(made)
    taken = [np.flatnonzero(RNG.uniform(size=len(each.mean)) < 0.4) for each in blocks]
    chosen = [Chosen(each, np.zeros(len(each), np.intp)) for each in taken]
    found = row_noise_of(planes, blocks, chosen, line)
    assert found is not None
    step = 2 if overlap else 1
    members: list[dict[int, list[tuple[float, np.ndarray]]]] = []
    for plane, made, index in zip(planes, blocks, taken, strict=True):
        rows_of: dict[int, list[tuple[float, np.ndarray]]] = {}
        for number in index:
            row, column = divmod(int(number), made.grid[1])
            if row % step or column % step:
                continue
            top, left = row * made.stride, column * made.stride
            block = dctn(plane[top : top + 8, left : left + 8].astype(float), norm="ortho")[4:, 0]
            rows_of.setdefault(row // step, []).append((1 / (10 + 0.02 * made.mean[number]), block))
        members.append(rows_of)
    own, scene, weights, groups = [], [], [], []
    for k, mine in enumerate(members):
        for row in sorted(mine):
            here = mine[row]
            if len(here) < 3:
                continue
            pairs = [(a, b) for a in range(len(here)) for b in range(len(here)) if a != b]
            weight = sum(here[a][0] * here[b][0] for a, b in pairs)
            value = sum(here[a][0] * here[b][0] * (here[a][1] * here[b][1]) for a, b in pairs) / weight
            across = []
            for other in (2, 3) if k < 2 else (0, 1):
                far = members[other].get(row, [])
                if len(far) >= 3:
                    total = sum(w * v for w, v in here) / sum(w for w, _ in here)
                    across.append(total * (sum(w * v for w, v in far) / sum(w for w, _ in far)))
            own.append(value.mean() / 8)
            scene.append(np.mean(across) / 8 if across else 0.0)
            weights.append(weight)
            groups.append(row)
    one, others, pairs_of, rows_in = (np.array(each) for each in (own, scene, weights, groups))
    first = max(np.average(one, weights=pairs_of), 0)
    weight = 1 / (1 / pairs_of + 2 * first**2)
    distinct = sorted(set(groups))
    group = np.array([distinct.index(row) * 12 // len(distinct) for row in rows_in])
    left = [np.average(one[group != g], weights=weight[group != g]) for g in sorted(set(group.tolist()))]
    error = ((len(left) - 1) * np.var(left)) ** 0.5
    extra = max(np.average(others, weights=weight), 0.0)
    expected = root(np.average(one, weights=weight) - extra, np.hypot(error, extra), "DN", 11)
    assert found.value == pytest.approx(expected.value, rel=1e-3)
    assert found.interval == pytest.approx(expected.interval, rel=1e-3)
    # Seven rows of blocks say nothing, eight do.
    for rows, said in ((7, False), (8, True)):
        few = [
            Chosen(index[index // made.grid[1] < rows * step], np.zeros(1, np.intp))
            for index, made in zip(taken, blocks, strict=True)
        ]
        assert (row_noise_of(planes, blocks, few, line) is not None) == said
    # Of one plane nothing is known of the scene.
    alone = row_noise_of(planes[:1], blocks[:1], chosen[:1], line)
    assert alone is not None
    count = sum(len(here) >= 3 for here in members[0].values())
    first = max(np.average(one[:count], weights=pairs_of[:count]), 0)
    variance = np.average(one[:count], weights=1 / (1 / pairs_of[:count] + 2 * first**2))
    assert alone.value**2 == pytest.approx(variance, rel=1e-3)

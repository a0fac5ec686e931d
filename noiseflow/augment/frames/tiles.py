"""Noise of a whole frame, tile by tile, with identical bits for any windows, number of threads and order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from noiseflow.augment.frames.windows import Window
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.flows.flow import back_through
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import WHOLE_FRAME, Transform, WholeLines
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.model import NoiseModel, checked_conditions
from noiseflow.ops.random.sampling import Keyed

__all__ = ["CORE", "FrameNoise"]

CORE = 256
"""Side of a tile without its halo, in pixels of a plane; like the seed, it determines the bits of the noise."""


@dataclass(frozen=True)
class _Stage:
    """Transforms in sampling order, their total reach in pixels of a plane, and the line noise that follows them."""

    transforms: tuple[Transform, ...]
    reach: int
    line: WholeLines | None = None


@dataclass(frozen=True, eq=False)
class _Tile:
    """Intermediate values on a tile's own pixels and the remaining part of its halo."""

    own: Window
    window: Window
    values: Tensor
    cond: Resolved
    noise: NoiseParameters | None = None
    """Noise parameters that the flow's transforms share, computed once for all stages."""

    def within(self, window: Window) -> "_Tile":
        """Crop to a window."""
        if window == self.window:
            return self
        values, clean = (window.of(each, self.window).contiguous() for each in (self.values, self.cond.clean))
        noise = self.noise
        if noise is not None:
            same = noise.clean is self.cond.clean
            own = clean if same else window.of(noise.clean, self.window).contiguous()
            noise = replace(noise, clean=own)
        return replace(self, window=window, values=values, cond=replace(self.cond, clean=clean), noise=noise)


class FrameNoise:
    """Noise of one frame, any part of which can be computed.

    The rounding of convolutions and elementary functions may depend on the shape of their input.  A frame is
    therefore always computed in tiles of `CORE` pixels at fixed positions, each with a halo of the model's reach,
    by one thread each, and with random numbers keyed by position.  A window is cut out of the tiles it overlaps.
    Line noise is summed over whole rows (or columns) in the order of the tiles.  Memory is needed for one strip of
    tiles.

    Parameters
    ----------
    model : NoiseModel
        Model of the noise; with a model that samples sequentially (``maf``), the frame is a single tile.
    size : (int, int)
        Height and width of the frame in pixels of a plane.
    clean : callable
        Function of a `Window` that returns its clean signal, (C, h, w); called from any thread.
    iso : float
        ISO of the noise.
    camera : str
        Camera of the noise.
    keyed : Keyed
        Seed and number of the frame.
    temperature : float
        Factor on the scale of the base distribution.
    workers : int
        Number of threads; the noise does not depend on it.
    """

    def __init__(
        self,
        model: NoiseModel,
        size: tuple[int, int],
        clean: Callable[[Window], Tensor],
        *,
        iso: float,
        camera: str,
        keyed: Keyed,
        temperature: float = 1.0,
        workers: int = 1,
    ) -> None:
        self.model, self.size, self.clean = model, size, clean
        self.iso, self.camera, self.keyed = iso, camera, keyed
        self.temperature, self.workers = temperature, workers
        like = next(chain(model.parameters(), model.buffers()), None)
        self.device = torch.device("cpu") if like is None else like.device
        self.stages, whole = _stages(model)
        self.core = max(*size, 1) if whole else CORE
        # The margin a tile still needs before the first stage, and after each one: the reach of all later stages.
        reaches = [stage.reach for stage in self.stages]
        self.margins = [sum(reaches[number:]) for number in range(len(reaches) + 1)]
        self._totals: dict[int, Tensor] = {}
        self._known: NoiseParameters | None = None
        # Threads start when they are first needed, and end with this object.
        self._pool = ThreadPoolExecutor(max(workers, 1), initializer=torch.set_num_threads, initargs=(1,))

    def strips(self) -> Iterator[tuple[Window, Tensor]]:
        """Iterate over strips of the frame from top to bottom; yield window and noise, (C, h, W)."""
        for top in range(0, self.size[0], self.core):
            with _one_thread():
                tiles = self._strip(top)
                noise = torch.cat([tile.values for tile in self._run(tiles)], -1)[0]
            yield Window.between(top, 0, tiles[0].bottom, self.size[1]), noise.cpu()

    def each_tile(self, done: Callable[[Window, Tensor, Tensor], None]) -> Iterator[Window]:
        """Compute the frame from top to bottom; yield the window of each strip when its tiles are done.

        Parameters
        ----------
        done : callable
            Called for each tile, in the thread that computes it, with window, clean signal and noise, (C, h, w) each.
        """

        def finished(tile: _Tile) -> _Tile:
            done(tile.own, tile.cond.clean[0].cpu(), tile.values[0].cpu())
            return tile

        for top in range(0, self.size[0], self.core):
            tiles = self._strip(top)
            with _one_thread():
                self._map(finished, self._run(tiles))
            yield Window.between(top, 0, tiles[0].bottom, self.size[1])

    def window(self, window: Window) -> Tensor:
        """Noise of one window, (C, h, w), with the same bits as in the whole frame."""
        rows = any(stage.line is not None for stage in self.stages)
        parts = []
        for top in range(window.top // self.core * self.core, window.bottom, self.core):
            strip = self._strip(top)
            touched = [own for own in strip if own.left < window.right and own.right > window.left]
            with _one_thread():
                # Row sums need all tiles of the strip.
                tiles = [tile for tile in self._run(strip if rows else touched) if tile.own in touched]
            parts.append(torch.cat([tile.within(tile.own.intersection(window)).values for tile in tiles], -1))
        return torch.cat(parts, -2)[0].cpu()

    def _strip(self, top: int) -> list[Window]:
        height, width = self.size
        bottom = min(top + self.core, height)
        return [Window.between(top, left, bottom, min(left + self.core, width)) for left in range(0, width, self.core)]

    def _run(self, strip: Sequence[Window], last: int | None = None) -> list[_Tile]:
        """Compute the tiles of a strip, without margins: their noise, or the input to stage `last`'s line noise."""
        tiles = self._map(self._start, strip)
        for number, stage in enumerate(self.stages[: None if last is None else last + 1]):
            tiles = self._map(partial(_through, stage, self.margins[number + 1], self.size), tiles)
            if stage.line is None or number == last:
                continue
            rows = self._row_sums(stage.line, tiles) if stage.line.whole_rows else None
            totals = self._frame_sums(number) if rows is None else None
            tiles = [_with_line(stage.line, tile, rows, totals) for tile in tiles]
        return [tile.within(tile.own) for tile in tiles]

    def _start(self, own: Window) -> _Tile:
        """Base noise of a tile, or the noise itself if the model is not a flow."""
        window = own.grown(self.margins[0], self.size)
        keyed = replace(self.keyed, top=window.top, left=window.left, size=self.size)
        cond = Conditions(self.clean(window)[None].contiguous().to(self.device), self.iso, self.camera)
        if not isinstance(self.model, FlowModel):
            noise = self.model.sample(cond, keyed, self.temperature)
            return _Tile(own, window, noise, checked_conditions(self.model, cond))
        known = checked_conditions(self.model, cond)
        values = self.model.flow.base.sample(known.clean, keyed)
        if self.temperature != 1:
            values = self.temperature * values
        return _Tile(own, window, values, known, self._shared(known))

    def _shared(self, cond: Resolved) -> NoiseParameters | None:
        """Noise parameters shared in the flow; tables are read for the first tile only, as all have the same ISO."""
        known = self._known
        if known is not None:
            return replace(known, clean=cond.clean)
        assert isinstance(self.model, FlowModel)
        found = self.model.flow.shared_features(cond)
        # A `BentScale` head changes the clean signal pixel by pixel, so its parameters cannot be reused.
        if found is not None and found.clean is cond.clean:
            self._known = found
        return found

    def _row_sums(self, line: WholeLines, tiles: Sequence[_Tile]) -> Tensor:
        """Sums over the whole width for the rows of the strip and its margin; each column counts once."""
        parts = []
        for tile in tiles:
            own = Window.between(tile.window.top, tile.own.left, tile.window.bottom, tile.own.right)
            parts.append(_sums(line, tile.within(own)))
        return torch.stack(parts).sum(0)

    def _frame_sums(self, number: int) -> Tensor:
        """Resolved sums over the whole frame for the line noise of a stage; the first call computes the frame for it.

        These are sums of columns over the whole height, or sums of all rows if rows depend on one another.
        """
        if number not in self._totals:
            stage = self.stages[number]
            line = stage.line
            assert line is not None
            strips, cond = [], None
            for top in range(0, self.size[0], self.core):
                tiles = self._run(self._strip(top), number)
                sums = [_sums(line, tile) for tile in tiles]
                strips.append(torch.stack(sums).sum(0) if line.whole_frame else torch.cat(sums, -1))
                cond = cond or tiles[0].cond
            assert cond is not None
            found = torch.cat(strips, -2) if line.whole_frame else torch.stack(strips).sum(0)
            self._totals[number] = line.resolve(found, cond)
        return self._totals[number]

    def _map(self, work: Callable[[Any], _Tile], items: Sequence[Any]) -> list[_Tile]:
        if self.workers <= 1 or len(items) < 2:
            return [work(item) for item in items]
        return list(self._pool.map(torch.no_grad()(work), items))


def _through(stage: _Stage, margin: int, size: tuple[int, int], tile: _Tile) -> _Tile:
    """Pass a tile through the transforms of a stage, and crop it to the remaining margin."""
    values = back_through(stage.transforms, tile.values, tile.cond, tile.noise, own=True)
    # A copy drops the cached inputs of nets, which are twice the size of the values.
    noise = tile.noise and replace(tile.noise)
    return replace(tile, values=values, noise=noise).within(tile.own.grown(margin, size))


def _sums(line: WholeLines, tile: _Tile) -> Tensor:
    return line.sums(tile.values, tile.noise).double()


def _with_line(line: WholeLines, tile: _Tile, rows: Tensor | None, totals: Tensor | None) -> _Tile:
    sums = rows
    if totals is not None:
        top, bottom, left, right = tile.window.top, tile.window.bottom, tile.window.left, tile.window.right
        sums = totals[..., top:bottom, :] if line.whole_frame else totals[..., left:right]
    assert sums is not None
    values = line.inverse_of_part(tile.values, tile.cond, sums.to(tile.values.dtype), tile.noise)
    return replace(tile, values=values)


def _stages(model: NoiseModel) -> tuple[list[_Stage], bool]:
    """Sampling stages of a model, and whether the frame must be computed in one piece."""
    if not isinstance(model, FlowModel):
        return [_Stage((), 0)], False
    period = model.period
    lines = sum(isinstance(module, WholeLines) for module in model.modules())
    stages: list[_Stage] = []
    run: list[Transform] = []
    for transform in reversed(list(model.flow.transforms)):
        assert isinstance(transform, Transform)
        if isinstance(transform, WholeLines):
            stages.append(_stage(run, period, transform))
            run = []
        else:
            run.append(transform)
    stages.append(_stage(run, period))
    # Line noise nested in another transform cannot be separated from it.
    nested = lines > sum(stage.line is not None for stage in stages)
    if nested or any(stage.reach >= WHOLE_FRAME for stage in stages):
        return [replace(stage, reach=0) for stage in stages], True
    return stages, False


def _stage(transforms: Sequence[Transform], period: int, line: WholeLines | None = None) -> _Stage:
    """Build a stage; its reach is rounded up to a multiple of the period, so that tiles keep their phase."""
    reach = sum(transform.sampling_reach for transform in transforms)
    return _Stage(tuple(transforms), -(-reach // period) * period, line)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Context without gradients and with one thread per operation, because splitting would change the rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)

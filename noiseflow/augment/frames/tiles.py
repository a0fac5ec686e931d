"""Noise of a whole frame, tile by tile: the same bits however the frame is cut, by whom, and in what order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from noiseflow.augment.frames.windows import Window
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import back_through
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import WHOLE_FRAME, Transform, WholeLines
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.model import NoiseModel
from noiseflow.ops.random.sampling import Keyed

__all__ = ["CORE", "FrameNoise"]

CORE = 256
"""Side of a tile without its halo, in pixels of a plane; a part of what the noise is, like the seed."""


@dataclass(frozen=True)
class _Stage:
    """Transforms in the order of sampling, what they reach in all, and the line noise that follows them."""

    transforms: tuple[Transform, ...]
    reach: int
    line: WholeLines | None = None
    shared_features: Callable[[Conditions], NoiseParameters | None] = lambda cond: None
    """The noise parameters that the whole flow shares with its transforms."""

    def noise(self, tile: "_Tile") -> NoiseParameters | None:
        """Those of a tile."""
        return self.shared_features(tile.cond)


@dataclass(frozen=True, eq=False)
class _Tile:
    """Values on the way from base noise to noise, on a tile's own pixels and what is left of its halo."""

    own: Window
    window: Window
    values: Tensor
    cond: Conditions

    def within(self, window: Window) -> "_Tile":
        """Less of it."""
        values = window.of(self.values, self.window).contiguous()
        clean = window.of(self.cond.clean, self.window).contiguous()
        return replace(self, window=window, values=values, cond=replace(self.cond, clean=clean))


class FrameNoise:
    """The noise of one frame, any part of it at a time.

    Convolutions and elementary functions may round the last bit by the shape that they work
    on.  A frame is therefore always computed in tiles of `CORE` pixels at fixed places, each with a
    halo of what the model reaches, by one thread each, with random numbers keyed by position; a
    window is cut out of the tiles that it touches.  Line noise takes its sums over whole rows
    (or columns) from the tiles in their order.  Memory is that of a strip of tiles.

    Parameters
    ----------
    model : NoiseModel
        One that samples front by front (``maf``) takes the frame in one piece.
    size : (int, int)
        Height and width of the frame in pixels of a plane.
    clean : callable
        From a `Window` to the clean signal there, (C, h, w); called by any thread.
    iso : float
    camera : str
    keyed : Keyed
        Seed and number of the frame.
    temperature : float
    workers : int
        Threads that compute tiles; without effect on what they compute.
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
        self.stages, whole = _stages(model)
        self.core = max(*size, 1) if whole else CORE
        # What later stages reach: the margin that a tile still needs after each, from before the first on.
        reaches = [stage.reach for stage in self.stages]
        self.margins = [sum(reaches[number:]) for number in range(len(reaches) + 1)]
        self._totals: dict[int, Tensor] = {}

    def strips(self) -> Iterator[tuple[Window, Tensor]]:
        """The whole frame from top to bottom in strips: where, and its noise there, (C, h, W)."""
        for top in range(0, self.size[0], self.core):
            with _one_thread():
                tiles = self._strip(top)
                noise = torch.cat([tile.values for tile in self._run(tiles)], -1)[0]
            yield Window.between(top, 0, tiles[0].bottom, self.size[1]), noise

    def window(self, window: Window) -> Tensor:
        """The noise of one rectangle, (C, h, w): the bits that the whole frame has there."""
        rows = any(stage.line is not None for stage in self.stages)
        parts = []
        for top in range(window.top // self.core * self.core, window.bottom, self.core):
            strip = self._strip(top)
            touched = [own for own in strip if own.left < window.right and own.right > window.left]
            with _one_thread():
                # Sums over rows need all tiles of the strip.
                tiles = [tile for tile in self._run(strip if rows else touched) if tile.own in touched]
            parts.append(torch.cat([tile.within(tile.own.common(window)).values for tile in tiles], -1))
        return torch.cat(parts, -2)[0]

    def _strip(self, top: int) -> list[Window]:
        height, width = self.size
        bottom = min(top + self.core, height)
        return [Window.between(top, left, bottom, min(left + self.core, width)) for left in range(0, width, self.core)]

    def _run(self, strip: Sequence[Window], last: int | None = None) -> list[_Tile]:
        """Tiles of one strip, without margins: their noise, or what enters the line noise of stage `last`."""
        tiles = self._map(self._start, strip)
        for number, stage in enumerate(self.stages[: None if last is None else last + 1]):
            tiles = self._map(partial(_through, stage, self.margins[number + 1], self.size), tiles)
            if stage.line is None or number == last:
                continue
            rows = self._row_sums(stage, stage.line, tiles) if stage.line.whole_rows else None
            totals = self._column_sums(number) if rows is None else None
            tiles = [_with_line(stage, stage.line, tile, rows, totals) for tile in tiles]
        return [tile.within(tile.own) for tile in tiles]

    def _start(self, own: Window) -> _Tile:
        """Base noise; of a model that is no flow the noise itself."""
        window = own.grown(self.margins[0], self.size)
        keyed = replace(self.keyed, top=window.top, left=window.left, size=self.size)
        cond = Conditions(self.clean(window)[None].contiguous(), self.iso, self.camera)
        if not _is_plain_flow(self.model):
            return _Tile(own, window, self.model.sample(cond, keyed, self.temperature), self.model.checked(cond))
        assert isinstance(self.model, FlowModel)
        cond = self.model.checked(cond)
        return _Tile(own, window, self.temperature * self.model.flow.base.sample(cond.clean, keyed), cond)

    def _row_sums(self, stage: _Stage, line: WholeLines, tiles: Sequence[_Tile]) -> Tensor:
        """Sums over the whole width, of the strip's rows and of its margin's; each column once."""
        parts = []
        for tile in tiles:
            own = Window.between(tile.window.top, tile.own.left, tile.window.bottom, tile.own.right)
            parts.append(_sums(stage, line, tile.within(own)))
        return torch.stack(parts).sum(0)

    def _column_sums(self, number: int) -> Tensor:
        """Sums over the whole height, of all columns; the first time by a pass over the frame."""
        if number not in self._totals:
            stage = self.stages[number]
            line = stage.line
            assert line is not None
            strips = (self._run(self._strip(top), number) for top in range(0, self.size[0], self.core))
            parts = [torch.cat([_sums(stage, line, tile) for tile in tiles], -1) for tiles in strips]
            self._totals[number] = torch.stack(parts).sum(0)
        return self._totals[number]

    def _map(self, work: Callable[[Any], _Tile], items: Sequence[Any]) -> list[_Tile]:
        if self.workers <= 1 or len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(torch.no_grad()(work), items))


def _through(stage: _Stage, margin: int, size: tuple[int, int], tile: _Tile) -> _Tile:
    """A tile through the transforms of a stage, with the margin that is left of its halo."""
    values = back_through(stage.transforms, tile.values, tile.cond, stage.noise(tile))
    return replace(tile, values=values).within(tile.own.grown(margin, size))


def _sums(stage: _Stage, line: WholeLines, tile: _Tile) -> Tensor:
    return line.sums(tile.values, stage.noise(tile)).double()


def _with_line(stage: _Stage, line: WholeLines, tile: _Tile, rows: Tensor | None, totals: Tensor | None) -> _Tile:
    sums = totals[..., tile.window.left : tile.window.right] if totals is not None else rows
    assert sums is not None
    values = line.inverse_of_part(tile.values, tile.cond, sums.to(tile.values.dtype), stage.noise(tile))
    return replace(tile, values=values)


def _is_plain_flow(model: NoiseModel) -> bool:
    """Whether a sample is the flow's inverse of base noise, and nothing else."""
    return isinstance(model, FlowModel) and type(model)._sample is FlowModel._sample


def _stages(model: NoiseModel) -> tuple[list[_Stage], bool]:
    """Stages of sampling, and whether the frame must be computed in one piece."""
    period = int(getattr(model, "period", 1))
    lines = sum(isinstance(module, WholeLines) for module in model.modules())
    if not _is_plain_flow(model):
        return [_Stage((), -(-model.reach // period) * period)], lines > 0 or model.reach >= WHOLE_FRAME
    assert isinstance(model, FlowModel)
    stages: list[_Stage] = []
    run: list[Transform] = []
    for transform in reversed(list(model.flow.transforms)):
        assert isinstance(transform, Transform)
        if isinstance(transform, WholeLines):
            stages.append(_stage(run, period, model.flow.shared_features, transform))
            run = []
        else:
            run.append(transform)
    stages.append(_stage(run, period, model.flow.shared_features))
    # A line noise within another transform cannot be parted from it.
    nested = lines > sum(stage.line is not None for stage in stages)
    if nested or any(stage.reach >= WHOLE_FRAME for stage in stages):
        return [replace(stage, reach=0) for stage in stages], True
    return stages, False


def _stage(
    transforms: Sequence[Transform],
    period: int,
    shared_features: Callable[[Conditions], NoiseParameters | None],
    line: WholeLines | None = None,
) -> _Stage:
    """A stage, its reach rounded up to a multiple of the period, so that tiles keep their phase."""
    reach = sum(transform.sampling_reach for transform in transforms)
    return _Stage(tuple(transforms), -(-reach // period) * period, line, shared_features)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Without gradients, one thread for each operation: how it is shared would change where its vectors end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)

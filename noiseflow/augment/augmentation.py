"""Base class of the augmentations, usable in plain Python, in compiled steps, and in workers and ranks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn

from noiseflow.augment.noisy_batch import NoisyBatch
from noiseflow.core.errors import DataError, ModelError
from noiseflow.ops.random.sampling import Keyed, Source

__all__ = ["Augmentation", "Request"]

Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Noisy, clean, noise level, ISO, exposure and camera index of a `NoisyBatch`."""

_numbers = count()
_augmentations: "WeakValueDictionary[int, Augmentation]" = WeakValueDictionary()
"""Number of an augmentation in compiled graphs → the augmentation, while it exists."""
_generators: "WeakValueDictionary[int, torch.Generator]" = WeakValueDictionary()
"""Number of a generator in compiled graphs → the generator, while it exists."""

GRAPHS_TAKE_GENERATORS = torch.__version__ >= "2.13"
"""Whether compiled calls accept a generator; in an older torch, such as 2.4, it breaks the graph."""


@dataclass(frozen=True, eq=False)
class Request:
    """Arguments of a call of an augmentation, besides the batch.

    Parameters
    ----------
    source : Generator, Keyed or None
        Source of the random numbers.
    iso, exposure : Tensor, shape () or (B,), optional
        ISO and exposure, if given at the call instead of drawn.
    camera : Tensor of int64, shape () or (B,), optional
        Indices in `Augmentation.camera_names`, if given at the call instead of drawn.
    """

    source: Source = None
    iso: Tensor | None = None
    exposure: Tensor | None = None
    camera: Tensor | None = None


class Augmentation(nn.Module, ABC):
    """Base class of modules that add noise to batches; they have no parameters and no state.

    A subclass implements `augment`.

    Parameters
    ----------
    seed : int
        Seed of indexed draws, 0 … 2³² − 1.
    cameras : sequence of str
        Names of the cameras to draw from.
    """

    shape: str = "(B, C, H, W)"
    """Shape of the input, for error messages."""
    axes: tuple[int, ...] = (4,)
    """Accepted numbers of axes of a batch; 5 means sequences, for `augment_sequences`."""

    def __init__(self, seed: int, cameras: Sequence[str]) -> None:
        super().__init__()
        if not 0 <= seed < 2**32:
            raise DataError(f"seed: expected 0 … 2³² − 1; got {seed}")
        self.seed, self.camera_names = seed, tuple(cameras)
        # In shared memory, so that workers see the epoch that the training process sets.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._enter()

    def _enter(self) -> None:
        self._number = next(_numbers)
        _augmentations[self._number] = self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Register the copy under its own number; it has its own epoch, unless it was passed to a new process."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._epoch.share_memory_()
        self._enter()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch for later indexed draws, in this process and in running workers."""
        self._epoch.fill_(_whole(epoch, "epoch"))

    def forward(
        self,
        clean: Tensor,
        index: Sequence[int] | Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        epoch: int | None = None,
        iso: float | Sequence[float] | Tensor | None = None,
        exposure: float | Sequence[float] | Tensor | None = None,
        camera: str | Sequence[str] | None = None,
    ) -> NoisyBatch:
        """Add noise to a batch, or to one element without a batch axis.

        If `clean` requires a gradient, the results have the pathwise gradient: their change with the signal for the
        same random numbers.

        Parameters
        ----------
        clean : Tensor or ndarray, shape (B, C, H, W) or (C, H, W)
            Input as described by the class; some classes also accept sequences, (B, T, C, H, W).
        index : B whole numbers, optional
            Number of each sample in its data set, 0 … 2³² − 1.  Its noise then depends only on the seed, the
            epoch and the sample itself.
        generator : torch.Generator, optional
            Generator on the device of `clean`.
        epoch : int, optional
            Number of the epoch, 0 … 2³² − 1; the same index gets different noise in each epoch.  If None, the epoch
            of `set_epoch`, initially 0.
        iso, exposure : float or B of them, optional
            ISO and exposure, instead of drawn ones.
        camera : str or B of them, optional
            Camera names, instead of drawn ones.

        Returns
        -------
        NoisyBatch
            Noisy and clean tensors, noise level, ISO, exposure and camera.

        Raises
        ------
        DataError
            Input of a wrong shape, values out of range or NaN, or both `index` and `generator`.
        ModelError
            A camera that no model knows, or a gradient through photon counts.
        """
        if (
            torch.compiler.is_compiling()
            and (generator is None or (GRAPHS_TAKE_GENERATORS and isinstance(generator, torch.Generator)))
            and isinstance(clean, Tensor)
            and not clean.requires_grad
        ):
            found = torch.ops.noiseflow.augment(
                clean,
                None if index is None else torch.as_tensor(index),
                self._epoch if epoch is None else torch.as_tensor(epoch),
                _numbers_of(iso),
                _numbers_of(exposure),
                self._places(camera),
                self._number,
                None if generator is None else _number_of(generator),
            )
            noisy, scaled, level, values, factors, places = found
            return NoisyBatch(noisy, scaled, level, values, factors, places, self.camera_names)
        batch: NoisyBatch = self._in_python(clean, index, generator, epoch, iso, exposure, camera)
        return batch

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _in_python(
        self, clean: Any, index: Any, generator: Any, epoch: Any, iso: Any, exposure: Any, camera: Any
    ) -> NoisyBatch:
        clean = _tensor(clean)
        single = clean.ndim == 3
        batch = clean[None] if single else clean
        if batch.ndim not in self.axes or (len(batch) and not batch[0].numel()):
            raise DataError(f"clean: expected shape {self.shape} with pixels; got {tuple(clean.shape)}")
        number = int(self._epoch) if epoch is None else _whole(epoch, "epoch")
        source = self.source(index, len(batch), generator, number)
        request = Request(
            source,
            _checked(_numbers_of(iso), "iso", len(batch)),
            _checked(_numbers_of(exposure), "exposure", len(batch)),
            _checked(self._places(camera), "camera", len(batch)),
        )
        augment = self.augment if batch.ndim == 4 else self.augment_sequences
        noisy, scaled, level, iso, exposures, cameras = augment(batch, request)
        if single:
            noisy, scaled, level = noisy[0], scaled[0], level[0]
        return NoisyBatch(noisy, scaled, level, iso, exposures, cameras, self.camera_names)

    @property
    def keeps_clean(self) -> bool:
        """Whether the clean result always equals the input, provided that no exposure is given at the call."""
        return False

    @abstractmethod
    def augment(self, batch: Tensor, request: Request) -> Outputs:
        """Add noise to a batch, (B, C, H, W)."""

    def augment_sequences(self, batch: Tensor, request: Request) -> Outputs:
        """Add noise to sequences, (B, T, C, H, W); only for subclasses whose `axes` contain 5."""
        raise NotImplementedError

    def level_shape(self, clean: Sequence[int]) -> tuple[int, ...]:
        """Shape of the noise level, given the shape of the clean signal."""
        return tuple(clean)

    def source(self, index: Any, count: int, generator: torch.Generator | None, epoch: int) -> Source:
        """Random source for a batch of `count` elements; the other arguments are those of `forward`."""
        if index is not None and generator is not None:
            raise DataError("index and generator: expected one of them; got both")
        if generator is not None and not isinstance(generator, torch.Generator):
            raise DataError(
                f"generator: expected a torch.Generator; got {generator!r}: for a seed, use "
                "torch.Generator().manual_seed(seed)"
            )
        if index is None:
            return generator
        given = torch.as_tensor(index)
        if given.numel() and (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool):
            raise DataError(f"index: expected whole numbers; got {given.flatten().tolist()[:4]}")
        numbers = given.reshape(-1).tolist()
        if len(numbers) != count:
            raise DataError(f"index: expected {count}, one for each element of the batch; got {len(numbers)}")
        if not all(0 <= number < 2**32 for number in numbers):
            raise DataError(f"index: expected 0 … 2³² − 1; got {min(numbers)} to {max(numbers)}")
        return Keyed(epoch << 32 | self.seed, tuple(numbers)) if numbers else None

    def _places(self, camera: str | Sequence[str] | None) -> Tensor | None:
        if camera is None:
            return None
        for name in (camera,) if isinstance(camera, str) else camera:
            if name not in self.camera_names:
                raise ModelError(f"camera {name!r}: expected one of {', '.join(self.camera_names)}")
        if isinstance(camera, str):
            return torch.tensor(self.camera_names.index(camera))
        return torch.tensor([self.camera_names.index(name) for name in camera], dtype=torch.int64)


def _tensor(clean: Any) -> Tensor:
    if isinstance(clean, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(clean))
    if not isinstance(clean, Tensor):
        raise DataError(f"clean: expected a tensor or an array; got {type(clean).__name__}")
    # Tensor subclasses, such as torchvision's, redefine operations; use the plain tensor.
    return clean if type(clean) is Tensor else clean.as_subclass(Tensor)


def _numbers_of(values: Any) -> Tensor | None:
    if values is None or isinstance(values, Tensor):
        return values
    return torch.as_tensor(values, dtype=torch.float64)


def _checked(values: Tensor | None, name: str, count: int) -> Tensor | None:
    """Expand values to `count` elements; floating-point values must be positive and finite."""
    if values is None:
        return None
    values = values.reshape(1) if values.ndim == 0 else values
    if values.ndim != 1 or len(values) not in (1, count):
        raise DataError(f"{name}: expected one value or {count}, one for each element; got {tuple(values.shape)}")
    if values.is_floating_point() and not bool(((values > 0) & torch.isfinite(values)).all()):
        raise DataError(f"{name}: expected positive numbers; got {values.tolist()[:4]}")
    return values.expand(count)


def _whole(epoch: Any, name: str) -> int:
    if isinstance(epoch, Tensor):
        epoch = epoch.item()
    if not hasattr(epoch, "__index__") or not 0 <= int(epoch) < 2**32:
        raise DataError(f"{name}: expected a whole number, 0 … 2³² − 1; got {epoch!r}")
    return int(epoch)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _number_of(generator: torch.Generator) -> int:
    """Number of a generator in compiled graphs; each graph is guarded by the generator it was traced with."""
    for number, known in _generators.items():
        if known is generator:
            return number
    number = next(_numbers)
    _generators[number] = generator
    return number


# `torch.library.custom_op` is not used, because it takes no tags before torch 2.5.
torch.library.define(
    "noiseflow::augment",
    "(Tensor clean, Tensor? index, Tensor epoch, Tensor? iso, Tensor? exposure, Tensor? camera, int which,"
    " int? generator=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.nondeterministic_seeded,),
)


@torch.library.impl("noiseflow::augment", "CompositeExplicitAutograd")
def _augment(
    clean: Any,
    index: Any,
    epoch: Any,
    iso: Any,
    exposure: Any,
    camera: Any,
    which: int,
    generator: int | None = None,
) -> Outputs:
    """Body of the node in compiled graphs: draws the same numbers as the call in Python."""
    self = _augmentations[which]
    names = None if camera is None else [self.camera_names[place] for place in camera.reshape(-1).tolist()]
    if names is not None and camera.ndim == 0:
        names = names * (1 if clean.ndim == 3 else len(clean))
    source = None if generator is None else _generators[generator]
    found = self._in_python(clean, index, source, epoch, iso, exposure, names)
    noisy, scaled, level = (each.contiguous() for each in (found.noisy, found.clean, found.noise_level))
    return noisy, scaled, level, found.iso.contiguous(), found.exposure.contiguous(), found.camera_index.contiguous()


@torch.library.register_fake("noiseflow::augment")  # type: ignore[untyped-decorator]
def _(clean: Any, *rest: Any) -> Outputs:
    which = rest[5]
    dtype = clean.dtype if clean.is_floating_point() else torch.float32
    real = torch.float64 if dtype == torch.float64 else torch.float32
    batch = 1 if clean.ndim == 3 else clean.shape[0]
    noisy, scaled = (torch.empty(clean.shape, dtype=dtype, device=clean.device) for _ in range(2))
    level = torch.empty(_augmentations[which].level_shape(clean.shape), dtype=dtype, device=clean.device)
    values, factors = (torch.empty(batch, dtype=real, device=clean.device) for _ in range(2))
    return noisy, scaled, level, values, factors, torch.empty(batch, dtype=torch.int64, device=clean.device)

"""Weights from a safetensors file: those of a module and no others, of its shapes and types, all of them finite."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from noiseflow.core.errors import DataError, ModelError, NoiseflowError
from noiseflow.core.output.verified import check_file
from noiseflow.core.reading.system import refused_by_system
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.nets.saved_state import brought_up
from noiseflow.models.model import NoiseModel

__all__ = ["building", "check_plausible", "fill", "read_tensors", "within_means"]

MOST_BYTES = 1 << 30
"""Largest file of weights that is read: the largest model that can be built has a tenth of it."""

FEW = 256
"""An option up to this number is small whatever the weights are."""

NO_SIZES = ("seed", "profile", "dark_frames", "isos", "cameras")
"""Options whose numbers say nothing of how much is allocated."""

PROBE = (0.0, 0.1, 0.9)
"""Normalised signals at which a model without a checksum is tried."""

LOUDEST = 10.0
"""Largest root mean square of plausible noise, in full scales."""

Names = Mapping[str, Tensor]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises
    ------
    ModelError
        It is none, is damaged, differs from the list of its folder, or holds a number that is not finite.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights")
    if path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{path}: has {path.stat().st_size:,} bytes; expected weights of at most {MOST_BYTES:,}")
    check_file(path, ModelError)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        refused = refused_by_system(path, error)
        raise ModelError(f"{path}: {refused or f'is no file of weights, or is damaged ({error})'}") from error
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelError(f"{path}: {name} holds NaN or infinite numbers; fit the model again")
    return tensors


def fill(module: nn.Module, tensors: Names, path: Path, spec: str) -> None:
    """Give a module its weights.

    Parameters
    ----------
    module : Module
        Built by the spec beside the weights.
    tensors : mapping of str to Tensor
        From `read_tensors`.
    path : Path
        Their file, for the error.
    spec : str
        Name of the spec's file, for the error.

    Raises
    ------
    ModelError
        A tensor is missing, too much, or of another shape or type.
    """
    tensors = brought_up(module, dict(tensors))
    wanted: Names = module.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        raise ModelError(f"{path}: does not fit {spec}: {name} is {'missing' if name in wanted else 'not known'}")
    for name, value in wanted.items():
        found = tensors[name]
        if found.shape != value.shape or found.dtype != value.dtype:
            raise ModelError(f"{path}: does not fit {spec}: {name} is {_words(found)}; expected {_words(value)}")
    module.load_state_dict(tensors)


def within_means(options: Mapping[str, Any], tensors: Names, spec: Path) -> None:
    """Refuse options that ask for more than the weights beside them hold, before anything is allocated.

    Raises
    ------
    ModelError
        An option is larger than any side of a tensor, and their number, could make it.
    """
    sides = [len(tensors), *(side for value in tensors.values() for side in value.shape)]
    most = max(FEW, 4 * max(sides))
    for name, value in _numbers(options):
        if abs(value) > most:
            raise ModelError(f"{spec}: option {name} is {value}; the weights beside it have room for {most} at most")


@contextmanager
def building(spec: Path) -> Iterator[None]:
    """Turn what a builder raises for options of wrong types or impossible sizes into a `ModelError`."""
    try:
        yield
    except NoiseflowError as error:
        raise error if str(spec) in str(error) else ModelError(f"{spec}: {error}") from error
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise ModelError(f"{spec}: no model can be built with these options ({error})") from error
    except MemoryError as error:
        raise ModelError(f"{spec}: a model with these options does not fit into memory") from error


def check_plausible(model: NoiseModel, path: Path) -> None:
    """Try a model at three signals and the ends of its ISOs: samples and densities must be finite and of camera size.

    For models without a checksum.  Noise with a root mean square of `LOUDEST` full scales is refused.

    Raises
    ------
    ModelError
        Its numbers are not finite, or its noise is larger than any camera's.
    """
    low, high = model.iso_range
    count = len(PROBE)
    signals = torch.tensor(PROBE * 2)[:, None, None, None].expand(2 * count, model.planes, 4, 4).contiguous()
    isos = torch.tensor([low] * count + [high] * count)
    condition = Conditions(clean=signals, iso=isos, camera=torch.zeros(2 * count, dtype=torch.long))
    try:
        with torch.no_grad():
            noise = model.sample(condition, torch.Generator().manual_seed(0))
            density = model.log_prob(noise, condition) if bool(noise.isfinite().all()) else noise
    except DataError as error:
        raise ModelError(f"{path}: gives no plausible noise ({error}); fit the model again") from error
    loud = float(noise.double().square().mean().sqrt())
    if not bool(density.isfinite().all()) or not loud <= LOUDEST:
        raise ModelError(
            f"{path}: gives noise of {loud:.3g} full scales, or a density that is not finite; fit the model again"
        )


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in NO_SIZES:
                yield from _numbers(each, str(key))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _numbers(each, name)
    elif isinstance(value, int):
        yield name, value


def _words(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"

"""Loading of weights from safetensors files, with checks of names, shapes, types, sizes and finite values."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn

from noiseflow.core.errors import DataError, ModelError, NoiseflowError
from noiseflow.core.output.verified import check_file
from noiseflow.core.reading.system import refused_by_system
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.nets.saved_state import brought_up
from noiseflow.models.model import NoiseModel

__all__ = ["building", "check_plausible", "fill", "read_tensors", "within_means"]

MOST_BYTES = 1 << 30
"""Largest weights file that is read; the largest model that can be built has a tenth of it."""

AT_ONCE = 1 << 24
"""Largest weights file in bytes that is read at once, and then decoded."""

FEW = 256
"""Options up to this number are accepted whatever the weights are."""

NO_SIZES = ("seed", "profile", "dark_frames", "isos", "cameras")
"""Options whose numbers do not determine how much memory is allocated."""

PROBE = (0.0, 0.1, 0.9)
"""Normalised signals at which a model without a checksum is tested."""

LOUDEST = 10.0
"""Largest root mean square of plausible noise, in units of full scale."""

DAMAGED = SafetensorError, RuntimeError, OSError, ValueError, KeyError, AttributeError, TypeError, AssertionError
"""What reading a damaged file raises."""

Names = Mapping[str, Tensor]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises
    ------
    ModelError
        The file is missing, is not safetensors, is damaged, differs from the checksum in its folder, or contains NaN
        or infinity.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected weights in safetensors format")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ModelError(f"{path}: has {size:,} bytes; expected weights of at most {MOST_BYTES:,} bytes")
    try:
        # The library takes three times as long to read a small file itself.
        content = path.read_bytes() if size <= AT_ONCE else None
        check_file(path, ModelError, content)
        tensors: dict[str, Tensor] = load_file(path) if content is None else load(content)
        endless = next((name for name, value in tensors.items() if not _finite(value)), None)
    except DAMAGED as error:
        refused = refused_by_system(path, error)
        raise ModelError(f"{path}: {refused or f'is not a safetensors file, or is damaged ({error})'}") from error
    if endless is not None:
        raise ModelError(f"{path}: {endless} contains NaN or infinity; fit the model again")
    return tensors


def _finite(value: Tensor) -> bool:
    """Whether a tensor has no NaN and no infinity.

    A finite sum has finite terms, and takes a quarter of the time.
    """
    if not value.is_floating_point():
        return True
    # PyTorch adds no numbers of 8 bits.
    value = value.float() if value.element_size() == 1 else value
    return math.isfinite(value.sum()) or bool(value.isfinite().all())


def fill(module: nn.Module, tensors: Names, path: Path, spec: str) -> None:
    """Load tensors into a module.

    Parameters
    ----------
    module : Module
        Module built from the spec beside the weights.
    tensors : mapping of str to Tensor
        Result of `read_tensors`.
    path : Path
        File of the tensors, for error messages.
    spec : str
        Name of the spec's file, for error messages.

    Raises
    ------
    ModelError
        A tensor is missing, unexpected, or has the wrong shape or type.
    """
    tensors = brought_up(module, dict(tensors))
    wanted: Names = module.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        raise ModelError(f"{path}: does not match {spec}: {name} is {'missing' if name in wanted else 'unexpected'}")
    for name, value in wanted.items():
        found = tensors[name]
        if found.shape != value.shape or found.dtype != value.dtype:
            raise ModelError(f"{path}: does not match {spec}: {name} is {_words(found)}; expected {_words(value)}")
    module.load_state_dict(tensors)


def within_means(options: Mapping[str, Any], tensors: Names, spec: Path) -> None:
    """Refuse options that are too large for the weights beside them, before anything is allocated.

    Parameters
    ----------
    options : mapping
        Options of the spec.
    tensors : mapping of str to Tensor
        Result of `read_tensors`.
    spec : Path
        File of the spec, for error messages.

    Raises
    ------
    ModelError
        An option exceeds both `FEW` and four times the largest size of a tensor or the number of tensors.
    """
    sides = [len(tensors), *(side for value in tensors.values() for side in value.shape)]
    most = max(FEW, 4 * max(sides))
    for name, value in _numbers(options):
        if abs(value) > most:
            raise ModelError(f"{spec}: option {name} is {value}; the weights beside it allow at most {most}")


@contextmanager
def building(spec: Path) -> Iterator[None]:
    """Context that turns errors of building a model (wrong types, impossible sizes) into a `ModelError`."""
    try:
        yield
    except NoiseflowError as error:
        raise error if str(spec) in str(error) else ModelError(f"{spec}: {error}") from error
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise ModelError(f"{spec}: no model can be built from these options ({error})") from error
    except MemoryError as error:
        raise ModelError(f"{spec}: a model with these options does not fit into memory") from error


def check_plausible(model: NoiseModel, path: Path) -> None:
    """Check that a model's samples and densities are finite and plausible at three signals and its end ISOs.

    Used for models without a checksum.  Noise with a root mean square above `LOUDEST` full scales is refused.

    Raises
    ------
    ModelError
        Samples or densities are not finite, or the noise is larger than that of any camera.
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
        raise ModelError(f"{path}: its noise is not plausible ({error}); fit the model again") from error
    loud = float(noise.double().square().mean().sqrt())
    if not bool(density.isfinite().all()) or not loud <= LOUDEST:
        raise ModelError(
            f"{path}: its noise has a σ of {loud:.3g} full scales, or its density is not finite; fit the model again"
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

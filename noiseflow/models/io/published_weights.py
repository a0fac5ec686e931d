"""Import the weights published with the Noise Flow paper.

The weights themselves are licensed CC BY-NC-SA 4.0 and are not part of this package.
"""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.camera.gain import Gain
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.coupling.affine import AffineCoupling
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1, strict_lower
from noiseflow.flows.nets.border_aware_net import BorderAwareNet
from noiseflow.models.flow.noise_flow import ARCHITECTURE, NoiseFlow
from noiseflow.models.io.weights import check_plausible
from noiseflow.models.model import ModelSpec

__all__ = ["CAMERAS", "ISOS", "Variables", "holds_variable", "import_published", "read_variables"]

CAMERAS = ("IP", "GP", "S6", "N6", "G4")
"""Cameras of SIDD in the published order: iPhone 7, Pixel, Galaxy S6, Nexus 6, LG G4."""

ISOS = (100.0, 400.0, 800.0, 1600.0, 3200.0)

MOST_ARRAYS, MOST_UNPACKED = 10_000, 64 << 20
"""Largest number of arrays, and of bytes, in published weights; the paper's have about 100 arrays and 100 kB."""

UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)
"""Errors that NumPy, zip and zlib raise for a damaged archive."""

Variables = Mapping[str, NDArray[Any]]
"""Name of a variable → array."""


def read_variables(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the variables of a published checkpoint.

    Parameters
    ----------
    path : path
        An ``.npz`` file with one array per TensorFlow variable, or the prefix (or ``.index`` file) of a TensorFlow
        checkpoint, which needs the extra ``[tensorflow]``.

    Raises
    ------
    ModelError
        The file is missing or is neither of these, or tensorflow is not installed.
    """
    path = Path(path)
    if path.suffix == ".npz":
        try:
            _check_unpacked(path)
            with np.load(path, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        except UNREADABLE as error:
            raise ModelError(f"{path}: cannot read the weights ({error}); expected an .npz of arrays") from error
        for name, value in found.items():
            if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
                raise ModelError(
                    f"{path}: {name}: expected finite numbers; got {value.dtype}, or values that are NaN or infinite"
                )
        return found
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    if not prefix.with_name(prefix.name + ".index").exists():
        raise ModelError(f"{path}: expected an .npz of weights or a TensorFlow checkpoint (PREFIX with PREFIX.index)")
    try:
        from tensorflow.train import load_checkpoint
    except ImportError as error:
        raise ModelError(
            f"{path}: is a TensorFlow checkpoint; install camera-noiseflow[tensorflow] to read it"
        ) from error
    reader = load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def holds_variable(path: Path, name: str) -> bool:
    """Whether a file is an ``.npz`` with an array of that name; only its table of contents is read."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{name}.npy" in archive.namelist()
    except UNREADABLE:
        return False


def _check_unpacked(path: Path) -> None:
    """Refuse an archive that would unpack to more than published weights can have, before unpacking it.

    Raises
    ------
    ModelError
        More than `MOST_ARRAYS` entries or `MOST_UNPACKED` bytes.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected an .npz of published weights")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # The sizes in the directory are upper limits, because reading an entry stops there.
        unpacked = sum(entry.file_size for entry in entries)
        if len(entries) <= MOST_ARRAYS and unpacked <= MOST_UNPACKED:
            for entry in entries:
                _check_header(archive, entry)
    if len(entries) > MOST_ARRAYS or unpacked > MOST_UNPACKED:
        raise ModelError(
            f"{path}: has {len(entries):,} arrays with {unpacked:,} bytes; expected published weights, with at most "
            f"{MOST_ARRAYS:,} arrays and {MOST_UNPACKED:,} bytes"
        )


def _check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Raise `ValueError` for an array whose header claims more values than its entry contains."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{entry.filename}: not a NumPy array")
        one = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = one(file)
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize > entry.file_size:
        raise ValueError(f"{entry.filename}: claims the shape {shape} in {entry.file_size:,} bytes")


def import_published(path: str | Path) -> NoiseFlow:
    """Load the published Noise Flow (S-Ax4-G-Ax4-CAM) with its weights, in evaluation mode.

    Two of its 2,433 trainable numbers are ignored, because no layer uses them: ``rescaling_scale0`` of the
    signal-dependent and of the gain layer.

    Raises
    ------
    ModelError
        A variable is missing or has the wrong shape, or the model's noise is not plausible.
    """
    variables = read_variables(path)
    model = NoiseFlow(ModelSpec("noise_flow", "bayer", CAMERAS, ISOS, {"architecture": ARCHITECTURE}))
    coupling = 0
    try:
        with torch.no_grad():
            for index, layer in enumerate(model.flow.transforms):
                if isinstance(layer, SignalDependentScale):
                    _fill(layer, variables, _SIGNAL_DEPENDENT)
                elif isinstance(layer, Gain):
                    layer.log_gain.copy_(_tensor(variables, "model/sdn_gain/gain_val").log()[0])
                elif isinstance(layer, InvertibleConv1x1):
                    _fill_conv1x1(layer, variables, _level(index))
                elif isinstance(layer, AffineCoupling) and isinstance(layer.net, BorderAwareNet):
                    layer.bound.copy_(_tensor(variables, f"level0/bijector{_level(index)}/rescaling_scale0"))
                    _fill_net(layer.net, variables, f"model/real_nvp_conv_template{f'_{coupling}' if coupling else ''}")
                    coupling += 1
    except (KeyError, RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(f"{path}: not the published S-Ax4-G-Ax4-CAM weights ({error})") from error
    model.eval()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelError(f"{path}: {name} is not finite, so these are not the published weights")
    check_plausible(model, Path(path))
    return model


_SIGNAL_DEPENDENT = {
    "beta1": "model/sdn_gain/beta1",
    "beta2": "model/sdn_gain/beta2",
    "gain_params": "model/sdn_gain/gain_params",
    "cam_params": "model/sdn_gain/cam_params",
}


def _level(index: int) -> int:
    """Number of a transform's bijector in the published checkpoint; a 1×1 convolution and its coupling share one."""
    if index == 0:
        return 0
    return (index + 1) // 2 if index < 9 else 5 + (index - 8) // 2


def _tensor(variables: Variables, name: str) -> Tensor:
    return torch.from_numpy(np.asarray(variables[name]))


def _fill(layer: torch.nn.Module, variables: Variables, names: Mapping[str, str]) -> None:
    for attribute, name in names.items():
        parameter = layer.get_parameter(attribute)
        parameter.copy_(_tensor(variables, name).reshape(parameter.shape))


def _fill_conv1x1(layer: InvertibleConv1x1, variables: Variables, level: int) -> None:
    prefix, suffix = f"level0/bijector{level}/Conv2d_1x1_{level}", f"matpar_lu_conv2d_1x1_{level}_0"
    layer.permutation.copy_(_tensor(variables, f"{prefix}/P_{suffix}"))
    layer.sign.copy_(_tensor(variables, f"{prefix}/sign_S_{suffix}"))
    layer.log_scale.copy_(_tensor(variables, f"{prefix}/log_S_{suffix}"))
    lower = fill_triangular(_tensor(variables, f"{prefix}/L_vec_{suffix}"), upper=False)
    upper = fill_triangular(_tensor(variables, f"{prefix}/U_vec_{suffix}"), upper=True)
    # The packed triangles are one smaller than the matrix, since they exclude its diagonal.
    layer.lower.copy_(strict_lower(torch.nn.functional.pad(lower, (0, 1, 1, 0))))
    layer.upper.copy_(strict_lower(torch.nn.functional.pad(upper, (1, 0, 0, 1)).T))


def fill_triangular(packed: Tensor, *, upper: bool) -> Tensor:
    """Unpack a triangle in the order of TensorFlow Probability's ``fill_triangular``.

    With n(n+1)/2 numbers p, the n×n square is filled row by row from
    (p[n:], reverse(p)) for a lower triangle and (p, reverse(p[n:])) for an upper one.

    >>> fill_triangular(torch.tensor([1, 2, 3, 4, 5, 6]), upper=False)
    tensor([[4, 0, 0],
            [6, 5, 0],
            [3, 2, 1]])
    """
    size = int((2 * packed.shape[0]) ** 0.5)
    parts = [packed, packed[size:].flip(0)] if upper else [packed[size:], packed.flip(0)]
    square = torch.cat(parts).reshape(size, size)
    return square.triu() if upper else square.tril()


def _fill_net(net: BorderAwareNet, variables: Variables, prefix: str) -> None:
    for conv, name in ((net.conv1, "l_1"), (net.conv2, "l_2"), (net.conv3, "l_last")):
        conv.weight.copy_(_tensor(variables, f"{prefix}/{name}/W").permute(3, 2, 0, 1))
        conv.bias.copy_(_tensor(variables, f"{prefix}/{name}/b").flatten())  # type: ignore[union-attr]
    for norm, name in ((net.norm1, "bn_nvp_conv_1"), (net.norm2, "bn_nvp_conv_2")):
        norm.running_mean.copy_(_tensor(variables, f"{prefix}/{name}/mean"))  # type: ignore[union-attr]
        norm.running_var.copy_(_tensor(variables, f"{prefix}/{name}/var"))  # type: ignore[union-attr]
    net.logs.copy_(_tensor(variables, f"{prefix}/l_last/logs").flatten())

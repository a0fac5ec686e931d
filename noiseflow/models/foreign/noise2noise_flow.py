"""Import the raw flow published with Noise2NoiseFlow.

It is Noise Flow's `sdn5|unc×4|gain4|unc×4` in other coordinates, so it needs no new layer:

* The parameters of its signal-dependent scale are divided by ten: they enter as exp(b/10 · exp(k/10)).
* Its 1×1 convolution is z = W x and ours is z = Wᵀ x, so ours takes the factors of Wᵀ = P L (U + diag s).
* Its batch norms have ε = 1e-5, a scale and a shift.  In evaluation they are linear and are folded into the
  convolution before them; our norm then becomes the identity.

Golden outputs of the authors' code confirm all three (tests/models/foreign/test_noise2noise_flow.py).

References
----------
Maleky, Kousha, Brown, Brubaker: Noise2NoiseFlow: Realistic Camera Noise Modeling without Clean Images, CVPR 2022.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.flows.camera.gain import Gain
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.coupling.affine import AffineCoupling
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1
from noiseflow.flows.nets.border_aware_net import BorderAwareNet
from noiseflow.models.flow.noise_flow import ARCHITECTURE, NoiseFlow
from noiseflow.models.foreign.source import NON_COMMERCIAL, ForeignFormat, ForeignSource
from noiseflow.models.io.published_weights import CAMERAS, ISOS, Variables, holds_variable, read_variables
from noiseflow.models.io.weights import check_plausible
from noiseflow.models.model import ModelSpec, NoiseModel

__all__ = ["NOISE2NOISE_FLOW"]

PREFIX = "noise_flow.model."
PARAMETER_SCALE = 0.1
"""Factor on the parameters of the signal-dependent scale in the authors' code."""

EPSILON = 1e-5
"""ε of the authors' batch norms, PyTorch's default."""


def _claims(path: Path) -> bool:
    return holds_variable(path, f"{PREFIX}0._scale.beta1")


def _read(source: ForeignSource) -> NoiseModel:
    variables = read_variables(source.path)
    model = NoiseFlow(ModelSpec("noise_flow", "bayer", CAMERAS, ISOS, {"architecture": ARCHITECTURE}))
    try:
        with torch.no_grad():
            for index, layer in enumerate(model.flow.transforms):
                _fill(layer, _Layer(variables, f"{PREFIX}{index}."))
    except (KeyError, RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(f"{source.path}: not the weights of Noise2NoiseFlow's raw flow ({error})") from error
    model.eval()
    check_plausible(model, source.path)
    return model


class _Layer:
    """The variables of one layer of the checkpoint, in float64."""

    def __init__(self, variables: Variables, prefix: str) -> None:
        self.variables, self.prefix = variables, prefix

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.variables[self.prefix + name], np.float64))


def _fill(layer: nn.Module, of: _Layer) -> None:
    if isinstance(layer, SignalDependentScale):
        for name in ("beta1", "beta2", "gain_params", "cam_params"):
            layer.get_parameter(name).copy_(PARAMETER_SCALE * of[f"_scale.{name}"])
    elif isinstance(layer, Gain):
        layer.log_gain.copy_(of["scale"].log())
    elif isinstance(layer, InvertibleConv1x1):
        unit = torch.eye(len(of["log_s"]), dtype=torch.float64)
        scale = torch.diag(of["sign_s"] * of["log_s"].exp())
        layer.set_matrix((of["p"] @ (of["l"].tril(-1) + unit) @ (of["u"].triu(1) + scale)).mT)
    elif isinstance(layer, AffineCoupling) and isinstance(layer.net, BorderAwareNet):
        layer.bound.copy_(of["_shift_and_log_scale.scale"][0])
        _fill_net(layer.net, _Layer(of.variables, f"{of.prefix}_shift_and_log_scale."))


def _fill_net(net: BorderAwareNet, of: _Layer) -> None:
    for conv, norm, convolution, normalisation in ((net.conv1, net.norm1, 0, 1), (net.conv2, net.norm2, 3, 4)):
        assert conv.bias is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        theirs = _Layer(of.variables, f"{of.prefix}net.{normalisation}.")
        scale = theirs["weight"] * (theirs["running_var"] + EPSILON).rsqrt()
        conv.weight.copy_(of[f"net.{convolution}.weight"] * scale[:, None, None, None])
        conv.bias.copy_((of[f"net.{convolution}.bias"] - theirs["running_mean"]) * scale + theirs["bias"])
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
    net.conv3.weight.copy_(of["conv2d_3.weight"])
    assert net.conv3.bias is not None
    net.conv3.bias.copy_(of["conv2d_3.bias"])
    net.logs.copy_(of["logs"].flatten())


NOISE2NOISE_FLOW = ForeignFormat("Noise2NoiseFlow's raw flow: .npz of its state", _claims, _read, NON_COMMERCIAL)

"""Noise Flow, layer by layer as published, with camera and ISO per sample."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.camera.gain import Gain
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.coupling.affine import AffineCoupling
from noiseflow.flows.flow import Flow
from noiseflow.flows.iso_table import ONE_ISO_LAW
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1
from noiseflow.flows.nets.border_aware_net import BorderAwareNet
from noiseflow.flows.transform import Transform
from noiseflow.models.adc_levels import Levels
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.integers.censored_fit import maximise_code_likelihood
from noiseflow.models.model import ModelSpec, register
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["ARCHITECTURE", "LAYERS", "NoiseFlow", "parse_architecture"]

ARCHITECTURE = "sdn5|unc|unc|unc|unc|gain4|unc|unc|unc|unc"
"""Architecture of the published model, S-Ax4-G-Ax4-CAM."""

Layer = Callable[[ModelSpec, torch.Generator], Sequence[Transform]]


def _unconditional(spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
    if spec.planes < 2:
        raise ModelError(
            f"noise_flow: a coupling needs 2 planes; layout {spec.layout!r} has {spec.planes}: use mono2x2"
        )
    first = spec.planes // 2
    net = BorderAwareNet(first, 2 * (spec.planes - first), generator=generator)
    return InvertibleConv1x1(spec.planes, generator), AffineCoupling(net, net.reach)


LAYERS: dict[str, Layer] = {
    "sdn5": lambda spec, generator: [SignalDependentScale(len(spec.cameras), spec.isos)],
    "gain4": lambda spec, generator: [Gain()],
    "unc": _unconditional,
}
"""Layer name in an architecture string → function that builds its transforms."""


def parse_architecture(text: str) -> list[str]:
    """Split an architecture string into its layer names; an unknown name raises a `ModelError`.

    >>> parse_architecture("sdn5|unc|gain4")
    ['sdn5', 'unc', 'gain4']
    """
    words = [word.strip() for word in text.split("|")]
    for word in words:
        if word not in LAYERS:
            raise ModelError(f"architecture {text!r}: layer {word!r} is not known; expected one of {', '.join(LAYERS)}")
    return words


@register("noise_flow", ("architecture", "seed"))
class NoiseFlow(FlowModel):
    """Noise Flow (S-Ax4-G-Ax4-CAM).

    Options of the spec: ``architecture``, a string in the published syntax (default `ARCHITECTURE`),
    and ``seed`` of the initial weights (default 0).

    References
    ----------
    Abdelhamed, Brubaker, Brown: Noise Flow: Noise Modeling with Conditional Normalizing
    Flows, ICCV 2019.
    """

    _one_iso_rule = ONE_ISO_LAW

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        words = parse_architecture(str(spec.options.get("architecture", ARCHITECTURE)))
        generator = torch.Generator().manual_seed(int(spec.options.get("seed", 0)))
        self.flow = Flow(transform for word in words for transform in LAYERS[word](spec, generator))

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Set `sdn5` to its maximum likelihood; the other layers together start as a rotation.

        With one camera and one ISO this is exactly the noise level function.  With several ISOs the start is
        somewhat worse, because `sdn5` has one β₂ per camera, and the noise level function one per camera and ISO.
        """
        layers = [layer for layer in self.flow.transforms if isinstance(layer, SignalDependentScale)]
        if not layers:
            return
        nlf = NoiseLevelFunction(self.spec)
        nlf.start_from(statistics)
        _start_signal_dependent(layers[0], nlf.log_beta1.detach().double(), nlf.log_beta2.detach().double())
        _maximise_likelihood(layers[0], statistics, self.cameras)

    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Set `sdn5` to the highest likelihood of the integer codes, without the other layers."""
        head = self.flow.transforms[0]
        if not isinstance(head, SignalDependentScale):
            return
        alone = NoiseFlow(replace(self.spec, options={"architecture": "sdn5"}))
        alone.flow.transforms[0].load_state_dict(head.state_dict())
        head.load_state_dict(maximise_code_likelihood(alone, codes, cond, levels).flow.transforms[0].state_dict())


def _maximise_likelihood(layer: SignalDependentScale, statistics: NoiseStatistics, cameras: Sequence[str]) -> None:
    """Set the layer to its maximum likelihood on the cell statistics of the data, by L-BFGS in float64."""
    index = torch.tensor([cameras.index(name) for name in statistics.cameras])
    isos = torch.tensor(statistics.isos, dtype=torch.float64)[statistics.iso_index]
    cells = Resolved(statistics.clean[:, None, None, None], isos, index[statistics.camera])
    weight = statistics.count / statistics.count.sum()
    fine = copy.deepcopy(layer).double()
    optimiser = torch.optim.LBFGS(
        fine.parameters(), max_iter=200, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        variance = fine.variance(cells)[:, 0, 0, 0]
        value = 0.5 * (weight * (variance.log() + statistics.square / variance)).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    layer.load_state_dict(fine.state_dict())


@torch.no_grad()
def _start_signal_dependent(layer: SignalDependentScale, log_beta1: Tensor, log_beta2: Tensor) -> None:
    """Solve b₁c₁ₘ − g(v) = log β₁ + log v and b₂c₂ₘ = log β₂ with c₃ = 1, b < 0 and c > 0."""
    target = log_beta1 + layer.log_isos
    of_camera = target.mean(1)
    margin = of_camera.max() + 1
    slope = of_camera - margin
    read = log_beta2.mean(1).clamp(max=-1e-3)
    layer.beta1.copy_(slope.mean())
    layer.beta2.copy_(read.mean())
    layer.cam_params[0] = (slope / slope.mean()).log()
    layer.cam_params[1] = (read / read.mean()).log()
    layer.cam_params[2] = 0.0
    layer.gain_params.copy_(-margin - (target - of_camera[:, None]).mean(0))

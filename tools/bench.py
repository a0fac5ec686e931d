"""How fast a model trains and samples, as ratios to plain layers and to `torch.randn` in the same run.

python -m tools.bench
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noiseflow.flows import Conditions
from noiseflow.flows.native import compiled
from noiseflow.models import ModelSpec, build


class PlainNoiseFlow(nn.Module):
    """A model equal to `noise_flow` in eager PyTorch layers, channels first, `conv2d` for every convolution."""

    def __init__(self) -> None:
        super().__init__()
        rotation = [torch.linalg.qr(torch.randn(4, 4)).Q.contiguous() for _ in range(8)]
        self.mixes = nn.ParameterList(map(nn.Parameter, rotation))
        self.nets = nn.ModuleList(nn.ModuleList(self.layers()) for _ in range(8))
        self.logs = nn.Parameter(torch.zeros(8, 4))
        self.bounds = nn.Parameter(torch.full((8,), 0.1))
        self.log_gain = nn.Parameter(torch.zeros(()))
        self.log_betas = nn.Parameter(torch.tensor([-5.0, -8.0]))

    @staticmethod
    def layers() -> list[nn.Module]:
        """Of one coupling's net."""
        norms = [nn.BatchNorm2d(4, eps=1e-4, affine=False) for _ in range(2)]
        return [nn.Conv2d(2, 4, 3, padding=1), norms[0], nn.Conv2d(4, 4, 1), norms[1], nn.Conv2d(5, 4, 3)]

    def scale_and_shift(self, index: int, a: Tensor) -> tuple[Tensor, Tensor]:
        """Log scale and shift of a coupling."""
        conv1, norm1, conv2, norm2, conv3 = self.nets[index]
        hidden = norm2(conv2(norm1(conv1(a)).relu())).relu()
        border = F.pad(a.new_zeros(a.shape[0], 1, *a.shape[2:]), (1, 1, 1, 1), value=1.0)
        out = conv3(torch.cat([F.pad(hidden, (1, 1, 1, 1)), border], 1))
        shift, raw = (out * (3 * self.logs[index]).exp()[:, None, None]).chunk(2, 1)
        return self.bounds[index] * raw.tanh(), shift

    def variance(self, clean: Tensor) -> Tensor:
        """Shot and read noise."""
        return self.log_betas[0].exp() * clean + self.log_betas[1].exp()

    def forward(self, noise: Tensor, clean: Tensor) -> Tensor:
        """Log-density."""
        variance = self.variance(clean)
        x, log_det = noise * variance.rsqrt(), -0.5 * variance.log().sum((1, 2, 3))
        for index, mix in enumerate(self.mixes):
            if index == 4:
                x, log_det = x * (-self.log_gain).exp(), log_det - self.log_gain * x[0].numel()
            x = F.conv2d(x, mix[:, :, None, None])
            log_det = log_det + torch.linalg.slogdet(mix)[1] * x.shape[2] * x.shape[3]
            a, b = x.chunk(2, 1)
            log_scale, shift = self.scale_and_shift(index, a)
            x, log_det = torch.cat([a, b * log_scale.exp() + shift], 1), log_det + log_scale.sum((1, 2, 3))
        return (-0.5 * x.square() - 0.9189385).sum((1, 2, 3)) + log_det

    @torch.no_grad()
    def sample(self, clean: Tensor) -> Tensor:
        """A draw of noise."""
        x = torch.randn_like(clean)
        for index in reversed(range(8)):
            a, b = x.chunk(2, 1)
            log_scale, shift = self.scale_and_shift(index, a)
            x = torch.cat([a, (b - shift) * (-log_scale).exp()], 1)
            x = F.conv2d(x, torch.linalg.inv(self.mixes[index])[:, :, None, None])
            if index == 4:
                x = x * self.log_gain.exp()
        return x * self.variance(clean).sqrt()


def best(call: Callable[[], object], times: int = 6) -> float:
    """Shortest time of some calls after a first one, s."""
    call()
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return min(spent)


def training(model: nn.Module, noise: Tensor, condition: object) -> Callable[[], None]:
    """A step of Adam on the NLL."""
    optimiser = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        (-model(noise, condition).mean() / noise[0].numel()).backward()
        optimiser.step()

    return step


@click.command()
@click.option("--batch", default=138, show_default=True, help="Patches.")
@click.option("--side", default=32, show_default=True, help="Pixels of a plane.")
@click.option("--threads", default=1, show_default=True, help="Of torch.")
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="Write the figures there.")
def main(batch: int, side: int, threads: int, json_out: Path | None) -> None:
    """Time steps of training, and samples, of the plain model and of ours."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    clean = torch.rand(batch, 4, side, side)
    noise, cond = (
        0.02 * torch.randn(clean.shape),
        Conditions(clean, torch.full((batch,), 200.0), torch.zeros(batch).long()),
    )
    models = {
        name: build(ModelSpec(name, cameras=("A",), isos=(100.0, 800.0))) for name in ("noise_flow", "physics_flow")
    }
    plain = PlainNoiseFlow()
    figures: dict[str, dict[str, float]] = {"training": {}, "sampling": {}}
    figures["training"]["plain layers"] = best(training(plain, noise, clean))
    plain.eval()
    figures["sampling"]["plain layers"] = best(lambda: plain.sample(clean))
    for name, model in models.items():
        for kind in ("eager", "compiled"):
            with compiled(kind == "compiled"):
                model.train()
                figures["training"][f"{name}, {kind}"] = best(training(model, noise, cond))
                model.eval()
                figures["sampling"][f"{name}, {kind}"] = best(lambda model=model: model.sample(cond))  # type: ignore[misc]
    figures["sampling"]["torch.randn"] = best(lambda: torch.randn(clean.shape))
    for what, times in figures.items():
        for name, seconds in times.items():
            rate = (
                f"{batch / seconds:.0f} patches/s"
                if what == "training"
                else f"{clean.numel() / seconds / 1e6:.1f} Mpix/s"
            )
            click.echo(f"{what:9} {name:24} {rate:>15}  {times['plain layers'] / seconds:.2f} × plain layers")
    if json_out is not None:
        json_out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

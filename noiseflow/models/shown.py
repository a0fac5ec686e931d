"""How a noise model shows itself: in one line, and in a notebook."""

from typing import TYPE_CHECKING

import torch

from noiseflow.core.notebook import curves, facts
from noiseflow.core.text import LONGEST_LINE, plain_text
from noiseflow.flows.conditions import Conditions

if TYPE_CHECKING:
    from noiseflow.models.model import NoiseModel

__all__ = ["facts_of", "in_notebook", "in_one_line", "noise_curves"]


def facts_of(model: "NoiseModel") -> dict[str, str]:
    """What a model was fitted for: label → text."""
    low, high = model.iso_range
    names = ", ".join(model.cameras[:3]) + (f" and {len(model.cameras) - 3} more" if len(model.cameras) > 3 else "")
    return {
        "cameras" if len(model.cameras) > 1 else "camera": names,
        "ISO": f"{low:g}" if low == high else f"{low:g} to {high:g}",
        "planes": f"{model.planes} ({model.spec.layout})",
        "parameters": f"{sum(each.numel() for each in model.parameters()):,}",
    }


def in_one_line(model: "NoiseModel") -> str:
    """Name and facts; ``model.flow`` shows the layers of a flow."""
    said = ", ".join(f"{label} {text}" for label, text in facts_of(model).items())
    return plain_text(f"<noise model {model.spec.model}: {said}>", LONGEST_LINE)


def in_notebook(model: "NoiseModel") -> str:
    """HTML of the facts, and of the noise over the signal at three ISOs."""
    return facts(f"Noise model {model.spec.model}", facts_of(model), curves(*noise_curves(model)))


def noise_curves(
    model: "NoiseModel", camera: str | None = None
) -> tuple[dict[str, tuple[list[float], list[float]]], str, str]:
    """Standard deviation of sampled noise over the signal at the lowest, a middle and the highest ISO.

    Of 1,024 pixels of each plane, so within 2 % or so; the random numbers are always the same.

    Parameters
    ----------
    model : NoiseModel
        Model to sample, on any device.
    camera : str, optional
        Camera; the first of the model if None.

    Returns
    -------
    lines : dict
        ISO → signals and standard deviations, both normalised.
    x_label, y_label : str
        Labels of the axes.
    """
    device = next((each.device for each in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    # Not up to the white level: models that clip there have less noise.
    signals = torch.logspace(-3, -0.3, 12, device=device)
    clean = signals[:, None, None, None].expand(-1, model.planes, 32, 32).contiguous()
    isos = model.spec.isos
    lines = {}
    for iso in sorted({isos[0], isos[len(isos) // 2], isos[-1]}):
        generator = torch.Generator(device).manual_seed(0)
        noise = model.sample(Conditions(clean, iso, camera or model.cameras[0]), generator)
        lines[f"ISO {iso:g}"] = (signals.tolist(), noise.flatten(1).std(1).tolist())
    return lines, "signal, normalised", "noise σ, normalised"

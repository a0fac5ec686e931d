"""Display of a noise model: in one line, and in a notebook."""

from typing import TYPE_CHECKING

import torch

from noiseflow.core.notebook import curves, facts
from noiseflow.core.text import LONGEST_LINE, plain_text
from noiseflow.flows.conditions import Conditions

if TYPE_CHECKING:
    from noiseflow.models.model import NoiseModel

__all__ = ["facts_of", "in_notebook", "in_one_line", "noise_curves"]


def facts_of(model: "NoiseModel") -> dict[str, str]:
    """Facts about a model for display: label → text."""
    low, high = model.iso_range
    names = ", ".join(model.cameras[:3]) + (f" and {len(model.cameras) - 3} more" if len(model.cameras) > 3 else "")
    return {
        "cameras" if len(model.cameras) > 1 else "camera": names,
        "ISO": f"{low:g}" if low == high else f"{low:g} to {high:g}",
        "planes": f"{model.planes} ({model.spec.layout})",
        "parameters": f"{sum(each.numel() for each in model.parameters()):,}",
    }


def in_one_line(model: "NoiseModel") -> str:
    """Name and facts of a model in one line; ``model.flow`` shows the layers of a flow."""
    said = ", ".join(f"{label} {text}" for label, text in facts_of(model).items())
    return plain_text(f"<noise model {model.spec.model}: {said}>", LONGEST_LINE)


def in_notebook(model: "NoiseModel") -> str:
    """HTML with the facts, and a plot of the noise over the signal at three ISOs."""
    return facts(f"Noise model {model.spec.model}", facts_of(model), curves(*noise_curves(model)))


def noise_curves(
    model: "NoiseModel", camera: str | None = None
) -> tuple[dict[str, tuple[list[float], list[float]]], str, str]:
    """Standard deviation of sampled noise over the signal, at the lowest, a middle and the highest ISO.

    Each σ is measured on 1,024 pixels of each plane, so its error is about 2 %.  The random numbers are fixed.

    Parameters
    ----------
    model : NoiseModel
        Model to sample, on any device.
    camera : str, optional
        Name of the camera; if None, the model's first one.

    Returns
    -------
    lines : dict
        Label "ISO …" → signals and noise standard deviations, both normalised.
    x_label, y_label : str
        Labels of the axes.
    """
    device = next((each.device for each in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    # The signals stop at half of white, because models that clip have less noise near white.
    signals = torch.logspace(-3, -0.3, 12, device=device)
    clean = signals[:, None, None, None].expand(-1, model.planes, 32, 32).contiguous()
    isos = model.spec.isos
    lines = {}
    for iso in sorted({isos[0], isos[len(isos) // 2], isos[-1]}):
        generator = torch.Generator(device).manual_seed(0)
        noise = model.sample(Conditions(clean, iso, camera or model.cameras[0]), generator)
        lines[f"ISO {iso:g}"] = (signals.tolist(), noise.flatten(1).std(1).tolist())
    return lines, "signal, normalised", "noise σ, normalised"

"""Files of a photo denoiser: its weights as safetensors, and a card that describes it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save as serialise

from noiseflow.augment.denoise.names import CARD, WEIGHTS
from noiseflow.augment.denoise.network import PhotoDenoiser, PhotoDenoiserSpec
from noiseflow.core.errors import ModelError
from noiseflow.core.output.listed import write_listed
from noiseflow.core.output.verified import check_file
from noiseflow.core.reading.schema import ListOf, MapOf, Number, Plain, Table, checked
from noiseflow.core.reading.text import read_json
from noiseflow.models.io.weights import building, fill, read_tensors, within_means

__all__ = ["load_photo_denoiser", "save_photo_denoiser"]

CARD_SCHEMA = Table(
    {
        "spec": Table(
            {
                "widths": ListOf(Number(1, 10_000, whole=True), 2, 4),
                "middle": Number(1, 100, whole=True),
                "seed": Number(0, 2**63, whole=True),
            }
        )
    },
    {"about": MapOf(Plain())},
)
"""Schema of the file `CARD`."""


def save_photo_denoiser(denoiser: PhotoDenoiser, folder: str | Path, about: Mapping[str, Any]) -> None:
    """Write weights and card into a run folder.

    Parameters
    ----------
    denoiser : PhotoDenoiser
        Network to write.
    folder : path
        Run folder, which has a list of the files written by noiseflow.
    about : mapping
        JSON values for the card: how, on what and how long it was trained.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in denoiser.state_dict().items()}
    write_listed(Path(folder), WEIGHTS, serialise(weights))
    card = json.dumps({"spec": asdict(denoiser.spec), "about": dict(about)}, indent=2) + "\n"
    write_listed(Path(folder), CARD, card.encode())


def load_photo_denoiser(folder: str | Path) -> PhotoDenoiser:
    """Load a photo denoiser, in evaluation mode.

    Parameters
    ----------
    folder : path
        Run folder that ``noiseflow train-denoiser`` wrote.

    Raises
    ------
    ModelError
        The folder contains no photo denoiser, or its weights do not match its card.
    """
    folder = Path(folder)
    card, weights = folder / CARD, folder / WEIGHTS
    if not card.is_file() or not weights.is_file():
        raise ModelError(f"{folder}: contains no photo denoiser; `noiseflow train-denoiser` trains one")
    check_file(card, ModelError)
    what = "the card of a photo denoiser"
    table = checked(read_json(card, what, ModelError), CARD_SCHEMA, str(card), ModelError, f"expected {what}")
    tensors = read_tensors(weights)
    within_means(table["spec"], tensors, card)
    with building(card):
        denoiser = PhotoDenoiser(PhotoDenoiserSpec(**table["spec"]))
    fill(denoiser, tensors, weights, card.name)
    return denoiser.eval()

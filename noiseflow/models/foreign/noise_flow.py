"""The format of the weights published with the Noise Flow paper."""

from pathlib import Path

from noiseflow.models.foreign.source import NON_COMMERCIAL, ForeignFormat, ForeignSource
from noiseflow.models.io.published_weights import holds_variable, import_published
from noiseflow.models.model import NoiseModel

__all__ = ["NOISE_FLOW"]


def _claims(path: Path) -> bool:
    checkpoint = path.suffix == ".index" or path.with_name(path.name + ".index").is_file()
    return checkpoint or holds_variable(path, "model/sdn_gain/beta1")


def _read(source: ForeignSource) -> NoiseModel:
    return import_published(source.path)


NOISE_FLOW = ForeignFormat(
    "the Noise Flow paper's weights: .npz or TensorFlow checkpoint", _claims, _read, NON_COMMERCIAL
)

"""Model specs: small JSON descriptions from which a model can be rebuilt."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from noiseflow.core.errors import ModelError
from noiseflow.core.units import NLL_UNIT
from noiseflow.raw.bayer import plane_names

__all__ = ["ModelSpec"]


@dataclass(frozen=True)
class ModelSpec:
    """Description of a model and of the data that it was fitted to.

    Parameters
    ----------
    model : str
        Name in the registry, `noiseflow.models.MODELS`.
    layout : str
        Plane layout: ``"bayer"``, ``"mono"`` or ``"mono2x2"``.
    cameras : tuple of str
        Camera names, in index order.
    isos : tuple of float
        ISOs that it was fitted at, in rising order; the knots of ISO tables.
    options : mapping
        Options of this model only, as JSON values.
    unit : str
        Unit of its densities; any other is refused.
    """

    model: str
    layout: str = "bayer"
    cameras: tuple[str, ...] = ("camera",)
    isos: tuple[float, ...] = (100.0,)
    options: Mapping[str, Any] = field(default_factory=dict)
    unit: str = NLL_UNIT

    def __post_init__(self) -> None:
        """Refuse specs from which no model can be built."""
        object.__setattr__(self, "cameras", tuple(str(name) for name in self.cameras))
        object.__setattr__(self, "isos", tuple(float(iso) for iso in self.isos))
        plane_names(self.layout)
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ModelError(f"spec: expected at least one camera and no name twice; got {self.cameras}")
        if not self.isos or min(self.isos) <= 0 or sorted(set(self.isos)) != list(self.isos):
            raise ModelError(f"spec: expected rising positive ISOs; got {self.isos}")
        if self.unit != NLL_UNIT:
            raise ModelError(f"spec: densities in {self.unit!r} cannot be mixed with {NLL_UNIT!r}; fit the model again")

    @property
    def before_rounding(self) -> bool:
        """Whether the model describes noise before rounding: samples must still be rounded and clipped to codes."""
        return bool(self.options.get("before_rounding", False))

    @cached_property
    def planes(self) -> int:
        """Number of planes."""
        return len(plane_names(self.layout))

    def to_json(self) -> str:
        """Encode as indented JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "spec.json") -> "ModelSpec":
        """Decode the output of `to_json`.

        Raises
        ------
        ModelError
            The text is no JSON object, or has unknown fields.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ModelError(f"{source}: is no model spec ({error})") from error

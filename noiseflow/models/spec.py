"""A model's description: small, JSON-able, and enough to build it again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from noiseflow.core.errors import ModelError
from noiseflow.core.units import NLL_UNIT
from noiseflow.raw.bayer import plane_names

__all__ = ["ModelSpec"]


@dataclass(frozen=True)
class ModelSpec:
    """What a model is and what it was fitted for.

    Parameters
    ----------
    model : str
        Name in the registry, `noiseflow.models.MODELS`.
    layout : str
        Plane layout: ``"bayer"``, ``"mono"`` or ``"mono2x2"``.
    cameras : tuple of str
        Camera names, in the order of the model's indices.
    isos : tuple of float
        ISOs that it was fitted at, rising; tables have their knots here.
    options : mapping
        What only this model knows, as JSON values.
    unit : str
        Unit of its densities; another one is refused.
    """

    model: str
    layout: str = "bayer"
    cameras: tuple[str, ...] = ("camera",)
    isos: tuple[float, ...] = (100.0,)
    options: Mapping[str, Any] = field(default_factory=dict)
    unit: str = NLL_UNIT

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
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
        """Whether its noise is analogue: samples are the camera's once they are rounded and clipped to codes."""
        return bool(self.options.get("before_rounding", False))

    @property
    def planes(self) -> int:
        """Number of planes."""
        return len(plane_names(self.layout))

    def to_json(self) -> str:
        """The spec as indented JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "spec.json") -> "ModelSpec":
        """Read what `to_json` wrote.

        Raises
        ------
        ModelError
            If the text is no JSON object, or has fields that a spec has not.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ModelError(f"{source}: is no model spec ({error})") from error

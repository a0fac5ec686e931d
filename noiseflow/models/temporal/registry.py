"""The table of parts; a new part is one new file and one new line here."""

from noiseflow.core.registry import Registry
from noiseflow.models.temporal.part import Part

__all__ = ["PARTS"]

PARTS = Registry[type[Part]](
    {
        "dark_pattern": "noiseflow.models.temporal.dark_pattern:DarkPattern",
        "response_pattern": "noiseflow.models.temporal.response_pattern:ResponsePattern",
        "black_drift": "noiseflow.models.temporal.black_drift:BlackDrift",
        "light_flicker": "noiseflow.models.temporal.light_flicker:LightFlicker",
        "telegraph": "noiseflow.models.temporal.telegraph:Telegraph",
        "block_flow": "noiseflow.models.temporal.innovations.block_flow:BlockFlow",
        "conditional_flow": "noiseflow.models.temporal.innovations.conditional_flow:ConditionalFlow",
    }
)
"""Name in a spec → part; if two parts are equally good, the earlier one is chosen.  Laws of innovations are applied in
this order, coarse before fine."""

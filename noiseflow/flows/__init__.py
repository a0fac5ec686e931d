"""Invertible transforms and the flows made of them."""

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow, StandardNormal
from noiseflow.flows.transform import Transform

__all__ = ["Conditions", "Flow", "StandardNormal", "Transform"]

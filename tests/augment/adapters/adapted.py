"""Augmentations that the tests of the adapters are about."""

import importlib
from typing import Any

import pytest
from model_table import spec_of

from noiseflow.augment import AddCameraNoise, AddNoiseToPictures
from noiseflow.models import build

__all__ = ["adapter", "mono", "on_pictures", "on_planes"]


def adapter(library: str, name: str = "CameraNoise") -> Any:
    """The adapter's class; the test is skipped where its library is not installed."""
    pytest.importorskip(library, reason=f"{library} is not installed; make test-adapters installs it")
    return getattr(importlib.import_module(f"noiseflow.augment.adapters.{library}"), name)


def on_planes(**how: Any) -> AddCameraNoise:
    """On four Bayer planes, β₁ = 10⁻³ and β₂ = 10⁻⁶."""
    return AddCameraNoise(build(spec_of("nlf", "bayer")).eval(), **({"iso": 800.0} | how))


def mono() -> AddCameraNoise:
    """On one plane."""
    return AddCameraNoise(build(spec_of("nlf", "mono")).eval(), iso=800.0)


def on_pictures() -> AddNoiseToPictures:
    """On sRGB pictures."""
    return AddNoiseToPictures(on_planes())

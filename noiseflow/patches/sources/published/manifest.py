"""Manifests of published data sets: facts about each set, with their sources, in TOML files in this folder."""

import sys
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["manifest"]


@cache
def manifest(name: str) -> Mapping[str, Any]:
    """Read the manifest ``NAME.toml``.

    Parameters
    ----------
    name : str
        Name of the data set, in lower case.

    Examples
    --------
    >>> manifest("crvd")["cfa"]
    'GBRG'
    """
    text = resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    return table

"""Names of a package whose modules are imported when they are first asked for."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["on_demand"]


def on_demand(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``: each name from the module that is its home.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    homes : mapping
        Name → module of the package.

    Examples
    --------
    >>> on_demand("noiseflow.raw", {"MONO": "bayer"})("MONO")
    'MONO'
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return get

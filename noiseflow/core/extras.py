"""How to install the libraries of an extra: no package index need have this package."""

import importlib.metadata

__all__ = ["install"]


def install(extra: str) -> str:
    """The command that installs what an extra needs, such as ``pip install 'astropy>=6.0'``.

    Parameters
    ----------
    extra : str
        A name of ``setup.cfg``, such as ``fits``.
    """
    try:
        lines = importlib.metadata.requires("camera-noiseflow") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    parts = (line.partition(";") for line in lines)
    names = [name.strip() for name, _, marker in parts if marker.replace("'", '"').strip() == f'extra == "{extra}"']
    return "pip install " + (" ".join(f"'{name}'" for name in names) or f"'camera-noiseflow[{extra}]'")

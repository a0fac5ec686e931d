"""The command that installs the libraries of an extra, even if no package index has this package."""

import importlib.metadata

__all__ = ["install"]


def install(extra: str) -> str:
    """Command that installs the libraries of an extra, such as ``pip install 'astropy>=6.0'``.

    Parameters
    ----------
    extra : str
        Name of the extra in ``setup.cfg``, such as ``fits``.
    """
    try:
        lines = importlib.metadata.requires("camera-noiseflow") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    parts = (line.partition(";") for line in lines)
    names = [name.strip() for name, _, marker in parts if marker.replace("'", '"').strip() == f'extra == "{extra}"']
    return "pip install " + (" ".join(f"'{name}'" for name in names) or f"'camera-noiseflow[{extra}]'")

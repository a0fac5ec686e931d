"""The command that installs the libraries of an extra, even if no package index has this package."""

__all__ = ["install"]


def install(extra: str) -> str:
    """Command that installs the libraries of an extra, such as ``pip install 'astropy>=6.0'``.

    Parameters
    ----------
    extra : str
        Name of the extra in ``setup.cfg``, such as ``fits``.
    """
    # Imported here because every ingest reads this module, and few need it.
    import importlib.metadata

    try:
        lines = importlib.metadata.requires("camera-noiseflow") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    parts = (line.partition(";") for line in lines)
    names = [name.strip() for name, _, marker in parts if marker.replace("'", '"').strip() == f'extra == "{extra}"']
    return "pip install " + (" ".join(f"'{name}'" for name in names) or f"'camera-noiseflow[{extra}]'")

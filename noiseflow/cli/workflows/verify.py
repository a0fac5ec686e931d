"""Check files and folders that noiseflow wrote against the checksums stored in them.

To verify another kind of file or folder, add a branch to `verify_path`.
"""

from pathlib import Path

from noiseflow.core.errors import DataError, NoiseflowError
from noiseflow.core.output.verified import verified
from noiseflow.core.progress import Progress, silent

__all__ = ["verify_path"]


def verify_path(path: Path, progress: Progress = silent) -> tuple[str, str]:
    """Check a file or folder against its checksums.

    Parameters
    ----------
    path : Path
        A patch store, a profile, or the folder of a run, report, data set, demo or benchmark.
    progress : Progress
        Called with the number of checked patches of a store.

    Returns
    -------
    tuple of str
        What was verified, and a caution; the caution is empty if everything that affects a number has a checksum.

    Raises
    ------
    NoiseflowError
        Something differs from its checksum, or `path` is of a kind without checksums.
    """
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() == ".json":
        return _profile(path)
    return _store(path, progress)


def _store(path: Path, progress: Progress) -> tuple[str, str]:
    from noiseflow.patches import PatchStore

    with PatchStore(path) as store:
        store.verify(progress)
        caution = (
            "" if store.protected else "older format: only the pixels have checksums; ingest again to protect the rest"
        )
        return f"{len(store):,} patches match their checksums", caution


def _profile(path: Path) -> tuple[str, str]:
    from noiseflow.calibrate.profiles.profile import is_protected, read_profile

    profile = read_profile(path)
    if is_protected(path):
        return f"{len(profile.settings):,} settings match their checksum", ""
    return (
        f"{len(profile.settings):,} settings have the right form",
        "older format: no checksum; calibrate again to protect the profile",
    )


def _folder(path: Path) -> tuple[str, str]:
    found = verified(path)
    if found is None:
        from noiseflow.cli.workflows.describe import describe

        kind = describe(path)["kind"]
        return f"the {kind} can be read", "no list of checksums: written by an earlier version or another program"
    if found.changed:
        shown = ", ".join(map(repr, found.changed[:3]))
        more = f" and {len(found.changed) - 3} more" if len(found.changed) > 3 else ""
        raise DataError(f"{path}: changed since it was written, or missing: {shown}{more}")
    if not found.same:
        raise NoiseflowError(f"{path}: its list contains no file with a checksum")
    return f"{found.same:,} files match their checksums", ""

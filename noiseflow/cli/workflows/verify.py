"""Compare what noiseflow wrote with the checksums in it.

To verify another kind of file or folder, give it a branch in `verify_path`.
"""

from pathlib import Path

from noiseflow.core.errors import DataError, NoiseflowError
from noiseflow.core.output.verified import verified
from noiseflow.core.progress import Progress, silent

__all__ = ["verify_path"]


def verify_path(path: Path, progress: Progress = silent) -> tuple[str, str]:
    """What was found to be whole, in words, and a caution; empty if all that decides a number has a checksum.

    Parameters
    ----------
    path : Path
        A patch store, a profile, or the folder of a run, report, data set, demo or benchmark.
    progress : Progress
        Called with the number of patches of a store.

    Raises
    ------
    NoiseflowError
        Something differs from its checksum, or it is nothing that has any.
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
            ""
            if store.protected
            else "an older store: only its pixels have checksums; ingest again to protect the rest"
        )
        return f"{len(store):,} patches match their checksums", caution


def _profile(path: Path) -> tuple[str, str]:
    from noiseflow.calibrate.profiles.profile import is_protected, read_profile

    profile = read_profile(path)
    if is_protected(path):
        return f"{len(profile.settings):,} settings match their checksum", ""
    return (
        f"{len(profile.settings):,} settings are of the right form",
        "an older profile: it has no checksum; calibrate again to protect it",
    )


def _folder(path: Path) -> tuple[str, str]:
    found = verified(path)
    if found is None:
        from noiseflow.cli.workflows.describe import describe

        kind = describe(path)["kind"]
        return f"the {kind} can be read", "it has no list of checksums: it is of an earlier version, or not ours"
    if found.changed:
        shown = ", ".join(map(repr, found.changed[:3]))
        more = f" and {len(found.changed) - 3} more" if len(found.changed) > 3 else ""
        raise DataError(f"{path}: changed since it was written, or gone: {shown}{more}")
    if not found.same:
        raise NoiseflowError(f"{path}: its list names no file with a checksum")
    return f"{found.same:,} files match their checksums", ""

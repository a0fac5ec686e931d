"""Synthesis of a data set of noisy and clean pairs from clean frames and fitted noise models."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from noiseflow.augment.distributions import Distribution, LogUniform, distribution
from noiseflow.augment.synthesis.pairs import FORMATS, NOTES, CameraChoice, PairTask, Recipe, make_pair, read_note
from noiseflow.core.errors import DataError, ExtrapolationWarning, ModelError, NoiseflowError, OutputError
from noiseflow.core.output.checks import check_output, inside, partial_of, writing
from noiseflow.core.output.folder import install
from noiseflow.core.output.lock import lock_file
from noiseflow.core.output.manifest import (
    MANIFEST,
    begin,
    describe_foreign,
    foreign,
    listing,
    record,
    remove_ours,
    seal,
)
from noiseflow.core.output.whole import move_new, private_folder
from noiseflow.core.progress import Progress, silent
from noiseflow.core.text import counted
from noiseflow.core.version import __version__
from noiseflow.models import load
from noiseflow.models.io.named import profile_named
from noiseflow.models.io.run_folder import SPEC, WEIGHTS
from noiseflow.patches.assembly.parts import write_whole
from noiseflow.patches.checksums import file_sha256
from noiseflow.patches.ingestion.executors import Pool, executor, processors
from noiseflow.patches.sources import collect
from noiseflow.patches.sources.synthetic import PAIRS, SYNTHESIS
from noiseflow.raw.settings import RawSettings

__all__ = ["Synthesis", "synthesize"]

MOST_PAIRS = 100_000
"""Largest number of pairs per clean frame."""

WORTH_PROCESSES = 8
"""Number of pairs from which starting worker processes pays off."""


@dataclass(frozen=True)
class Synthesis:
    """Folder of a synthesised data set, and its numbers of pairs, of pictures, and of pairs kept from earlier calls."""

    folder: Path
    pairs: int
    pictures: int
    resumed: int


def synthesize(
    clean: str | Path,
    out: str | Path,
    runs: Sequence[str | Path],
    *,
    per_image: int = 1,
    cameras: Sequence[str] | None = None,
    iso: float | Sequence[float] | Distribution | None = None,
    exposure: float | Sequence[float] | Distribution = 1.0,
    kind: str = "dng",
    seed: int = 0,
    settings: RawSettings | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    scheduler: str | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Synthesis:
    """Write noisy and clean pairs, and a manifest, into a folder.

    For each pair a camera, an ISO and an exposure are drawn, and noise of that camera's model is added to the
    clean frame times the exposure.  The draws depend only on the seed, the picture's name and the pair's number.
    So the files have the same bytes for any number of processes, and do not depend on other pictures.

    Finished pairs are kept in ``OUT.partial`` until all are done; repeat an interrupted call to resume it.
    ``manifest.jsonl`` has one line per pair, ``synthesis.json`` describes how the set was made, and
    `noiseflow.patches.ingest` makes a patch store from the folder.

    Parameters
    ----------
    clean : path
        A raw file, a folder of raw files, or a known data set.  If it has clean frames, these are used; otherwise
        every frame counts as clean.
    out : path
        Folder to write.
    runs : sequence of path
        One or more models: run folders, profiles, or cameras that `noiseflow.list_cameras` lists.
    per_image : int
        Number of pairs per clean frame.
    cameras : sequence of str, optional
        Cameras to choose from, all equally likely; if None, all cameras of the models.
    iso : float, sequence of float or Distribution, optional
        A fixed ISO, a list to choose from, or a distribution; if None, log-uniform over the ISO range of the camera's
        model.  ISOs are rounded to whole numbers.
    exposure : float, sequence of float or Distribution
        Factor on the clean signal before noise is added, at most 1.
    kind : str
        File format: ``"dng"``, or ``"h5"``, which is compressed and has the clean signal in float32.
    seed : int
        Seed of all draws, 0 … 2³² − 1.
    settings : RawSettings, optional
        Values that override those of the clean files.
    overwrite : bool
        Whether a data set in `out`, or an unfinished one of another call, may be replaced.
    jobs : int, optional
        Number of processes.  If None, one per processor, or only this one for fewer than 8 pairs or on a GPU.
    scheduler : str, optional
        Address of a Dask scheduler to use instead; its workers must see all folders under the same paths.
    device : str
        PyTorch device on which noise is sampled.  Files are reproducible on one device, not across devices.
    progress : Progress
        Called after each pair.

    Returns
    -------
    Synthesis
        Folder and numbers of pairs and pictures.

    Raises
    ------
    RawError
        There is no clean frame, or one cannot be read.
    ModelError
        There is no run, or no model knows a camera.
    DataError
        Arguments out of range.
    OutputError
        `out` exists and may not be replaced, was not written by noiseflow, or is being written by another process.
    """
    if not 1 <= per_image <= MOST_PAIRS or kind not in FORMATS:
        raise DataError(
            f"expected 1 to {MOST_PAIRS:,} pairs of each image, as {' or '.join(FORMATS)}; got {per_image}, {kind!r}"
        )
    if not 0 <= seed < 2**32:
        raise DataError(f"seed: expected 0 … 2³² − 1; got {seed}")
    with writing(out, folder=True, inputs=[clean, *runs], overwrite=overwrite) as out:
        recipe = replace(_recipe(runs, cameras, iso, exposure, kind, seed), device=device)
        pairs = _pairs(Path(clean), settings or RawSettings(), per_image)
        _check_capitals(out, pairs)
        said = {"tool": f"noiseflow {__version__}", "per_image": per_image, **_said(recipe)}
        partial = partial_of(out)
        _begin(partial, json.dumps(said, indent=1).encode(), overwrite=overwrite)
        todo = [pair for pair in pairs if read_note(partial, pair) is None]
        with _kept_on_error(out, partial):
            # New processes would share one GPU, and forked ones cannot use it.
            many = len(todo) >= WORTH_PROCESSES and device == "cpu"
            with executor(jobs or (processors() if many else 1), scheduler) as pool:
                _run(pool, partial.absolute(), todo, recipe, len(pairs), progress)
            _finish(partial, out, pairs, overwrite=overwrite)
    return Synthesis(out, len(pairs), len({pair.picture for pair in pairs}), len(pairs) - len(todo))


@contextmanager
def _kept_on_error(out: Path, partial: Path) -> Iterator[None]:
    """Context that adds to an error that finished pairs are kept."""
    kept = f"finished pairs are kept in {partial.name}: fix the problem and repeat the command to continue"
    try:
        yield
    except BrokenProcessPool as error:
        raise NoiseflowError(f"{out}: a process was killed, perhaps because memory ran out; {kept}") from error
    except NoiseflowError as error:
        raise type(error)(f"{error}; {kept}") from error
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror or error}); {kept}") from error


def _recipe(
    runs: Sequence[str | Path],
    cameras: Sequence[str] | None,
    iso: float | Sequence[float] | Distribution | None,
    exposure: float | Sequence[float] | Distribution,
    kind: str,
    seed: int,
) -> Recipe:
    choices = []
    for run in map(Path, runs):
        model = load(run)
        low, high = model.iso_range
        isos = LogUniform(low, high) if iso is None else distribution(iso, "iso")
        # Workers may have another current folder; the name of a shipped camera is no path.
        place = run.absolute() if run.exists() else run
        choices += [CameraChoice(name, place, _checksum(run), isos) for name in model.cameras]
        _warn_of_far(isos, low, high, model.spec.model)
    known = [choice.camera for choice in choices]
    if not known:
        raise ModelError("no model given; expected a run folder, a profile or a shipped camera, or several")
    for name in cameras or ():
        if name not in known:
            raise ModelError(f"camera {name!r} is not one these runs were fitted for; expected {', '.join(known)}")
    exposures = distribution(exposure, "exposure")
    least, most = (float(exposures(torch.tensor(u, dtype=torch.float64))) for u in (0.0, 1.0))
    # exp(log 1) may exceed 1 by rounding.
    if not 0 < least <= most <= 1 + 1e-9:
        raise DataError(
            f"exposure: expected above 0 and at most 1, the exposure of the clean frame; got {least:g} to {most:g}"
        )
    chosen = tuple(choice for choice in choices if not cameras or choice.camera in cameras)
    return Recipe(chosen, exposures, kind, seed, one_twin=least == most)


def _checksum(run: Path) -> str:
    """Checksum of the weights and the spec of a run, or of a profile."""
    profile = profile_named(run)
    if profile is not None:
        return hashlib.sha256(profile.to_json().encode()).hexdigest()[:32]
    return file_sha256(run / WEIGHTS)[:16] + file_sha256(run / SPEC)[:16]


def _warn_of_far(isos: Distribution, low: float, high: float, model: str) -> None:
    ends = [float(isos(torch.tensor(u, dtype=torch.float64))) for u in (0.0, 1.0)]
    far = [f"{end:g}" for end in dict.fromkeys(ends) if not 0.99 * low <= end <= 1.01 * high]
    if far:
        warnings.warn(
            f"ISO {', '.join(far)} is outside {low:g}…{high:g}, the range this {model} was fitted on; its parameters "
            "are extrapolated in log ISO",
            ExtrapolationWarning,
            stacklevel=4,
        )


def _pairs(clean: Path, settings: RawSettings, per_image: int) -> list[PairTask]:
    scenes = collect(clean, settings).scenes
    frames = [frame for scene in scenes for frame in ([scene.clean] if scene.clean else scene.frames)]
    base = clean if clean.is_dir() else clean.parent
    names: dict[str, Path] = {}
    for frame in frames:
        name = frame.path.relative_to(base).with_suffix("").as_posix().removesuffix("_CLEAN")
        inside(base, name, clean)
        if name in names and names[name] != frame.path:
            raise DataError(
                f"{frame.path}: its output would have the same name as that of {names[name]}; rename one of them"
            )
        if name in names:
            raise DataError(f"{frame.path}: contains several frames; expected files with one frame each")
        names[name] = frame.path
    return [
        PairTask(frame, name, number) for frame, name in zip(frames, names, strict=True) for number in range(per_image)
    ]


def _check_capitals(out: Path, pairs: Sequence[PairTask]) -> None:
    """Refuse names that differ only in case on a case-insensitive disk, where one pair would replace another."""
    lock = lock_file(out)
    if not lock.with_name(lock.name.upper()).exists():
        return
    first: dict[str, PairTask] = {}
    for pair in pairs:
        other = first.setdefault(pair.picture.casefold(), pair)
        if other.picture != pair.picture:
            raise DataError(
                f"{pair.frame.path}: has the same name as {other.frame.path} on the disk of {out}, which ignores case; "
                "rename one of them"
            )


def _said(recipe: Recipe) -> dict[str, Any]:
    return {
        "seed": recipe.seed,
        "format": recipe.kind,
        "cameras": [
            {"camera": choice.camera, "run": choice.run.name, "run_sha256": choice.checksum, "iso": repr(choice.iso)}
            for choice in recipe.choices
        ],
        "exposure": repr(recipe.exposure),
    }


def _begin(partial: Path, said: bytes, *, overwrite: bool) -> None:
    """Create the folder of an unfinished data set, or accept an existing one of a call with the same arguments."""
    check_output(partial, folder=True, goes_on=True)
    stated = partial / SYNTHESIS
    if partial.exists():
        if stated.is_file() and not stated.is_symlink() and stated.read_bytes() == said:
            _list(partial)
            return
        if listing(partial) is None:
            raise DataError(f"{partial}: exists but is not an unfinished data set; move it away")
        if not overwrite:
            raise DataError(
                f"{partial}: was left by a call with other arguments or models; move it away, or pass --overwrite to "
                "start again"
            )
        remove_ours(partial)
    with private_folder(partial) as made:
        _list(made)
        (made / SYNTHESIS).write_bytes(said)
        move_new(made, partial)


def _list(partial: Path) -> None:
    """Record in an unfinished data set which files in it are written by noiseflow."""
    if listing(partial) is None:
        begin(partial, "unfinished set")
        marked = [f"**/*_{which}.{kind}" for which in ("NOISY", "CLEAN") for kind in FORMATS]
        growing = ("**/", "**/.noiseflow-*", f"{NOTES}/**", f"{SYNTHESIS}*", f"{PAIRS}*")
        record(partial, *({"marked": each} for each in marked), *({"growing": each} for each in growing))


def _run(pool: Pool, folder: Path, todo: Sequence[PairTask], recipe: Recipe, total: int, progress: Progress) -> None:
    """Make pairs, with just enough submitted at a time to keep the workers busy."""
    done, left = total - len(todo), iter(todo)
    waiting: set[Future[str]] = set()
    while True:
        for pair in islice(left, max(1, 2 * pool.workers - 1) - len(waiting)):
            waiting.add(pool.submit(make_pair, folder, pair, recipe))
        if not waiting:
            return
        finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            done += 1
            progress(done, total, future.result())


def _finish(partial: Path, out: Path, pairs: Sequence[PairTask], *, overwrite: bool) -> None:
    """Write the manifest, remove files of ours that belong to no pair, and move the folder to its final name."""
    lines = [line for pair in pairs if (line := read_note(partial, pair)) is not None]
    if len(lines) < len(pairs):
        raise DataError(
            f"{partial}: the notes of {counted(len(pairs) - len(lines), 'finished pair')} are missing; check that "
            "the workers of the cluster see this folder under the same path"
        )
    others = foreign(partial)
    if others:
        raise OutputError(f"{partial}: {describe_foreign(partial, others)}")
    write_whole(partial / PAIRS, "".join(json.dumps(line) + "\n" for line in lines).encode())
    known = {line[kind]: line[f"{kind}_sha256"] for line in lines for kind in ("noisy", "clean")}
    for file in _files(partial):
        if file.relative_to(partial).as_posix() not in known and file.name not in (SYNTHESIS, PAIRS, MANIFEST):
            file.unlink()
    seal(partial, "data set", known, f"{NOTES}/**")
    install(partial, out, overwrite=overwrite)
    shutil.rmtree(out / NOTES)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in list(folder.rglob("*")) if path.is_file() and NOTES not in path.parts)

"""What is attacked: a command each, and the inputs of all."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.studies.attack.processes import run

__all__ = ["TARGETS", "Target", "prepare", "words_of"]

CAMERA = "PG-12"
PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "published" / "noise_flow_weights.npz"
"""What `import` is tried with; without it that command only fails."""


@dataclass(frozen=True)
class Target:
    """A command that writes.

    Parameters
    ----------
    words : str
        How it is called, with ``OUT`` for the name of the output.
    out : str
        The output.
    same : tuple of str
        Files in it that must be the same after any stop; ``""`` is the output itself.
    overwrite : str
        Flag that replaces an earlier output; empty where the command has none.
    also : tuple of str
        Further outputs.
    """

    words: str
    out: str = "OUT"
    same: tuple[str, ...] = ()
    overwrite: str = "--overwrite"
    also: tuple[str, ...] = ()


RUN = ("model.safetensors", "spec.json")
FIT = (
    "fit p.h5 --model realnvp --option couplings=2 --option width=4 --epochs 1 --steps-per-epoch 2 --batch 8 "
    "--no-compile --state-seconds 0 --out OUT"
)
PAIRS = FIT.replace("p.h5", "pairs.h5").replace("--state-seconds 0", "--state-seconds 0 --patience 1")
TARGETS = {
    "simulate": Target("simulate OUT --camera PG-12 --iso 100 --scenes 2 --size 32 48", same=("simulation.json",)),
    "ingest": Target("ingest raws --patch-size 8 --jobs 1 --out OUT.h5", "OUT.h5", ("",)),
    "calibrate": Target("calibrate series/flats series/darks --out OUT.json", "OUT.json", ("",)),
    "calibrate-maps": Target(
        "calibrate series/flats series/darks --out OUT.json --maps OUT.h5 --report OUT.html",
        "OUT.json",
        ("",),
        also=("OUT.h5", "OUT.html"),
    ),
    "fit": Target(FIT, same=RUN),
    "fit-pairs": Target(PAIRS, same=(*RUN, "denoiser/denoiser.safetensors")),
    "fit-video": Target(
        "fit-video run video/few --scene flat --part black_drift --part dark_pattern --out OUT", same=RUN
    ),
    "distill": Target("distill maf --steps 3 --batch 2 --store p.h5 --out OUT", same=RUN),
    "sample": Target("sample run raws/frame_00.dng --iso 400 --out OUT.dng", "OUT.dng", ("",)),
    "sample-burst": Target(
        "sample run raws/frame_00.dng --iso 400 --frames 3 --out OUT.dng --preview OUT.png",
        "OUT_000.dng",
        ("",),
        also=("OUT_001.dng", "OUT_002.dng", "OUT.png"),
    ),
    "denoise": Target(
        "denoise raws/frame_00.dng --model run --out OUT.dng --preview OUT.png", "OUT.dng", ("",), also=("OUT.png",)
    ),
    "train-denoiser": Target(
        "train-denoiser --model run --frames raws --steps 2 --batch 1 --side 8 --out OUT",
        same=("photo_denoiser.safetensors",),
    ),
    "transfer": Target(
        "transfer raws/frame_00.dng --from sony-a7s2 --to PG-12 --out OUT.dng --seed 1", "OUT.dng", ("",)
    ),
    "export": Target("export run OUT.pt2", "OUT.pt2"),
    "export-shards": Target("export p.h5 OUT --per-shard 20", same=("train-000000.tar", "train-000002.tar")),
    "import": Target("import weights.npz --out OUT", same=RUN),
    "synthesize": Target("synthesize raws --run run --isos 400 --jobs 1 --out OUT", same=("manifest.jsonl",)),
    "evaluate": Target("evaluate run p.h5 --max-patches 40 --out OUT", same=("metrics.csv",)),
    "evaluate-samples": Target("evaluate samples p.h5 --out OUT", same=("metrics.csv",)),
    "evaluate-video": Target("evaluate-video video-run video/few --scene flat --out OUT", same=("scores.json",)),
    "benchmark": Target("benchmark spec.toml --out OUT", overwrite=""),
    "clean-patches": Target("clean-patches p.h5 --out OUT", same=("clean.npy", "task.json", "conditions.csv")),
    "profiles": Target("profiles Sony_A7S2 --out OUT.json", "OUT.json", ("",)),
    "profiles-darktable": Target("profiles Sony_A7S2 --write darktable --out OUT.json", "OUT.json", ("",)),
    "profiles-dng": Target("profiles camera.json --write dng --dng raws/frame_00.dng --out OUT.dng", "OUT.dng", ("",)),
}
"""What is attacked.  To attack another command, give it a line."""


def words_of(target: Target, name: str, *more: str) -> list[str]:
    """Words of a command whose output has a name."""
    words = [word.replace("OUT", name).replace("Sony_A7S2", "Sony A7S2") for word in target.words.split()]
    return [*words, *(word for word in more if word)]


def prepare(folder: Path) -> None:
    """Make the inputs of all commands: a small series, its burst, stores, runs, samples and a spec."""
    from noiseflow.models import ModelSpec, build, save
    from noiseflow.simulate import simulate_series

    simulate_series(folder / "series", CAMERA, [400.0], size=(64, 96))
    shutil.copytree(folder / "series" / "burst", folder / "raws")
    for path in sorted((folder / "raws").glob("*"))[4:]:
        if path.suffix == ".dng":
            path.unlink()
    first = sorted((folder / "raws").glob("*.dng"))[0]
    if first.name != "frame_00.dng":
        first.rename(folder / "raws" / "frame_00.dng")
    simulate_series(folder / "video", CAMERA, [400.0], size=(128, 192))
    (folder / "video" / "few").mkdir()
    for number, path in enumerate(sorted((folder / "video" / "darks").glob("*.dng"))[:6]):
        shutil.copy(path, folder / "video" / "few" / f"{number}.dng")
    for words in (
        "ingest raws --patch-size 8 --jobs 1 --out p.h5",
        "ingest series/burst --patch-size 8 --jobs 1 --pairing noisy-pair --out pairs.h5",
        "fit p.h5 --model nlf --out run",
        "fit-video run video/few --scene flat --part black_drift --out video-run",
        "clean-patches p.h5 --out task",
        "calibrate series/flats series/darks --out camera.json",
    ):
        ended = run(folder, words.split())
        assert ended.status == 0, ended.said
    _samples(folder / "task", folder / "samples")
    if PUBLISHED.exists():
        shutil.copy(PUBLISHED, folder / "weights.npz")
    save(build(ModelSpec("maf", cameras=(f"Simulated {CAMERA}",), isos=(400.0,))), folder / "maf")
    (folder / "spec.toml").write_text(
        'max_patches = 40\n[[data]]\nname = "a"\nstore = "p.h5"\n[[model]]\nname = "nlf"\n'
    )


def _samples(task: Path, folder: Path) -> None:
    """Noise that another program drew: half a per cent at every pixel."""
    import numpy as np

    folder.mkdir()
    clean = np.load(task / "clean.npy")
    np.save(folder / "noise.npy", np.random.default_rng(0).normal(0, 0.005, clean.shape).astype(np.float32))
    sha256 = json.loads((task / "task.json").read_text())["clean_sha256"]
    (folder / "samples.json").write_text(json.dumps({"clean_sha256": sha256}))

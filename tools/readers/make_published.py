"""Make tiny trees of the published data sets beside SIDD: their folders, names and lists, with pictures of our own.

Mosaics are DNGs behind the suffix of each camera, which LibRaw takes for what they are, or 16-bit TIFFs where the set
has those.  With ``--whole`` a tree has as many files as the set is published with.

    python -m tools.readers.make_published CRVD out
    noiseflow ingest out --out crvd.h5
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import click
import numpy as np
import tifffile

from noiseflow.core.errors import OutputError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import whole_folder
from noiseflow.patches.sources.published import eld
from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import CELLS, cell_side

SIZE = (24, 36)
"""Rows and columns: whole cells of Bayer and of X-Trans."""


@dataclass
class Pictures:
    """Frames of made-up light, each of its own noise.

    Parameters
    ----------
    root : Path
        Folder of the tree.
    seed : int
        Seed of the noise of all frames.
    """

    root: Path
    seed: int = 0

    def __post_init__(self) -> None:
        """Number the frames."""
        self._numbers = count()

    def codes(self, black: int, light: float = 1.0) -> np.ndarray:
        """Codes of the next frame, shape `SIZE`: Poisson light of one ramp above black, at this share of it."""
        rng = np.random.default_rng((self.seed, next(self._numbers)))
        ramp = light * np.linspace(20, 300, SIZE[1])[None].repeat(SIZE[0], 0)
        return np.asarray(black + rng.poisson(ramp), np.uint16)

    def raw(
        self,
        name: str,
        *,
        iso: float,
        exposure_s: float,
        light: float = 1.0,
        cfa: str = "RGGB",
        model: str = "made up",
    ) -> None:
        """Write the next frame as a raw file of 10 bits, black 64."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        black = (64.0,) * cell_side(cfa) ** 2
        image = RawImage(
            mosaic=self.codes(64, light),
            cfa=cfa,
            black=black,
            white=1023.0,
            iso=iso,
            exposure_s=exposure_s,
            make="made up",
            model=model,
            source=name,
        )
        write_dng(path, image)

    def tiff(self, name: str, black: int) -> None:
        """Write the next frame as a TIFF of 16 bits."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, self.codes(black))

    def text(self, name: str, lines: list[str]) -> None:
        """Write a list."""
        (self.root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_sid(to: Pictures, *, whole: bool) -> None:
    """Both cameras with their lists; the lists as long as the published ones whose length is known."""
    for camera, suffix, cfa in (("Sony", "ARW", "RGGB"), ("Fuji", "RAF", CELLS["xtrans"])):
        published = manifest("sid")["lists"][camera]
        for digit, split in enumerate(("train", "test", "val")):
            counts = published.get(split) if whole else {"long": 2, "short": 5}
            if counts is None:
                continue
            lines = []
            for index, shorts in enumerate(_shared_out(counts["short"], counts["long"])):
                long = f"./{camera}/long/{digit}{index:04d}_00_10s.{suffix}"
                to.raw(long, iso=200.0, exposure_s=10.0, cfa=cfa, model=camera)
                for number in range(shorts):
                    short = f"./{camera}/short/{digit}{index:04d}_{number:02d}_0.1s.{suffix}"
                    to.raw(short, iso=200.0, exposure_s=0.1, light=0.01, cfa=cfa, model=camera)
                    lines.append(f"{short} {long} ISO200 F8")
            to.text(f"{camera}_{split}_list.txt", lines)


def make_eld(to: Pictures, *, whole: bool) -> None:
    """Four cameras; of each scene, reference and frames of each ISO at four factors, and a last reference."""
    facts = manifest("eld")
    settings = [
        (100.0, 2.0) if number in eld.REFERENCES else _eld_setting((number - 2) // 5, (number - 2) % 5)
        for number in eld.FRAMES
    ]
    for camera, suffix in facts["cameras"].items():
        for scene in range(1, facts["scenes"] + 1 if whole else 3):
            for number, (iso, exposure_s) in zip(eld.FRAMES, settings, strict=True):
                name = f"{camera}/scene-{scene}/IMG_{number:04d}{suffix}"
                to.raw(name, iso=iso, exposure_s=exposure_s, light=iso * exposure_s / 200.0, model=camera)


def _eld_setting(sensitivity: int, factor: int) -> tuple[float, float]:
    """ISO and exposure time in s, the reference at ISO 100 and 2 s divided by the factor."""
    iso = float(manifest("eld")["isos"][sensitivity])
    return iso, 2.0 * 100.0 / iso / manifest("eld")["factors"][factor]


def make_lrid(to: Pictures, *, whole: bool) -> None:
    """Bursts of the subsets at each digital gain; the scenes up to the last that is evaluated on."""
    facts = manifest("lrid")
    for subset, scenes in facts["subsets"].items():
        gains = facts["gains"][: int(subset[-1])] if whole else facts["gains"][:2]
        numbers = range(max(scenes["test"], default=2) + 1) if whole else sorted({2, *scenes["test"][:1]})
        for gain in gains:
            for number in numbers:
                for index in range(facts["frames"]):
                    name = f"{index:06d}_exp-{8_000_000 // gain}_iso-6400_orientation_0_camera-0.dng"
                    folder = f"{subset}/{facts['iso']}/{gain}/{number:03d}"
                    to.raw(f"{folder}/{name}", iso=6400.0, exposure_s=8e-3 / gain, light=1 / gain, model="IMX686")


def make_smid(to: Pictures, *, whole: bool) -> None:
    """Short videos of three frames with a long exposure each, without lists."""
    split = manifest("smid")["split"]
    for numbers in split.values():
        for number in numbers if whole else numbers[:2]:
            for index in range(3):
                to.raw(f"short/{number:04d}/{index:04d}.ARW", iso=1600.0, exposure_s=0.01, light=0.01)
            to.raw(f"long/{number:04d}/half0001.ARW", iso=1600.0, exposure_s=1.0)


def make_crvd(to: Pictures, *, whole: bool) -> None:
    """The indoor scenes, with the mean and the denoised mean of each frame."""
    facts = manifest("crvd")
    for scene in range(1, facts["scenes"] + 1) if whole else (1, 7):
        for iso in facts["isos"] if whole else facts["isos"][:1]:
            for frame in range(1, facts["frames"] + 1):
                place = f"scene{scene}/ISO{iso}/frame{frame}"
                for number in range(facts["noisy"]):
                    to.tiff(f"indoor_raw_noisy/{place}_noisy{number}.tiff", facts["black"])
                to.tiff(f"indoor_raw_noisy/{place}_clean.tiff", facts["black"])
                to.tiff(f"indoor_raw_gt/{place}_clean_and_slightly_denoised.tiff", facts["black"])


def make_rawnind(to: Pictures, *, whole: bool) -> None:
    """A flat folder as it is downloaded: scenes for training, all scenes for testing, and one of the X-Trans."""
    tests = manifest("rawnind")["test"]
    scenes = [("Bayer", name) for name in ("2pilesofplates", "desk_lamp", *(tests if whole else tests[:1]))]
    for number, (kind, scene) in enumerate([*scenes, ("X-Trans", "stefantiek")]):
        cfa = CELLS["xtrans"] if kind == "X-Trans" else "RGGB"
        for index, (mark, iso) in enumerate((("GT_", 100), ("GT_", 100), ("", 800), ("", 6400))):
            name = f"{kind}_{scene}_{mark}ISO{iso}_sha1={number:036x}{index:04x}.arw"
            to.raw(name, iso=float(iso), exposure_s=1.0 if mark else 100.0 / iso, cfa=cfa)


MAKERS: dict[str, Callable[..., None]] = {
    "SID": make_sid,
    "ELD": make_eld,
    "LRID": make_lrid,
    "SMID": make_smid,
    "CRVD": make_crvd,
    "RawNIND": make_rawnind,
}
"""The data sets, by their names in the documentation."""


def _shared_out(total: int, among: int) -> Iterator[int]:
    """Whole numbers that add up to a total, as alike as they can be."""
    return (total * (index + 1) // among - total * index // among for index in range(among))


@click.command()
@click.argument("name", type=click.Choice(list(MAKERS), case_sensitive=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--whole", is_flag=True, help="As many files as the set is published with.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(name: str, out: Path, whole: bool, seed: int) -> None:
    """Write a tiny tree of the data set NAME into the new folder OUT."""
    try:
        with writing(out, folder=True), whole_folder(out, "made-up data set") as made:
            MAKERS[name](Pictures(made, seed), whole=whole)
    except OutputError as error:
        raise click.ClickException(str(error)) from error
    click.echo(out)


if __name__ == "__main__":
    main()

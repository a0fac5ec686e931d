"""Options that several commands share."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from noiseflow.cli.choices import Registered, did_you_mean
from noiseflow.cli.streams import answer
from noiseflow.core.text import json_text

__all__ = [
    "MOST_DIGITS",
    "PATH",
    "QUIET",
    "device_option",
    "json_option",
    "out_option",
    "overwrite_option",
    "print_json",
    "quiet_option",
    "raw_options",
    "scene_option",
    "seed_option",
    "split_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)

MOST_DIGITS = 18
"""Digits of the largest whole numbers that options take: they fit 64 bits."""

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an earlier output of that name.")
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers."
)
device_option = click.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="auto (a GPU if there is one), cpu or cuda."
)
scene_option = click.option(
    "--scene",
    type=click.Choice(["flat", "static"]),
    default="static",
    show_default=True,
    help="flat: an even scene or darks, which show the sensor's pattern; static: any that stands still.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")

QUIET = "noiseflow.quiet"
"""Key in the context's ``meta``: whether progress is silent."""


def _be_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[QUIET] = value


quiet_option = click.option("--quiet", is_flag=True, expose_value=False, callback=_be_quiet, help="Show no progress.")


def print_json(content: Any) -> None:
    """Print a value as JSON on standard output."""
    answer(json_text(content, 2).rstrip("\n"), whole=True)


def split_option(what: str) -> Callable[[Command], Command]:
    """The option ``--split`` of a command that reads the patches of one split."""
    splits = Registered("noiseflow.patches.schema:SPLITS")
    return click.option("--split", type=splits, default="test", show_default=True, help=what)


def out_option(what: str) -> Callable[[Command], Command]:
    """The required option ``--out`` of a command."""
    return click.option("--out", type=PATH, required=True, help=what)


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    parts = value.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) <= MOST_DIGITS for part in parts):
        raise click.BadParameter(f"{value!r}: expected WIDTHxHEIGHT, such as 768x512")
    return int(parts[0]), int(parts[1])


def _levels(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        levels = tuple(float(part) for part in value.split(","))
    except ValueError:
        levels = ()
    if len(levels) not in (1, 4, 16, 36):
        raise click.BadParameter(f"{value!r}: expected one level in DN, or four of R, G1, G2, B such as 64,64,65,64")
    return levels


def _cfa(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from noiseflow.raw.patterns import BAYER_PHASES, known_cfa

    cfa = known_cfa(value)
    if cfa is None:
        names = (*BAYER_PHASES, "MONO", "QUAD", "XTRANS")
        raise click.BadParameter(f"{value!r} is not one of {', '.join(names)}.{did_you_mean(value, names)}")
    return cfa


RAW_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "cfa": (
        "--cfa",
        {
            "callback": _cfa,
            "metavar": "PATTERN",
            "help": "RGGB, GRBG, GBRG, BGGR, MONO, QUAD or XTRANS; with the rows and columns that are cut off before "
            "the first pixel, XTRANS+1+0; or all colours of the cell.",
        },
    ),
    "black": (
        "--black",
        {"callback": _levels, "metavar": "DN[,…]", "help": "Black level, or four of R, G1, G2, B."},
    ),
    "white": ("--white", {"type": float, "help": "White level in DN."}),
    "iso": ("--iso", {"type": float, "help": "ISO."}),
    "exposure_s": ("--exposure", {"type": float, "help": "Exposure time in seconds."}),
    "camera": ("--camera", {"help": "Name of the camera."}),
    "size": (
        "--size",
        {"callback": _size, "metavar": "WIDTHxHEIGHT", "help": "Pixels of a file without header."},
    ),
    "dtype": (
        "--dtype",
        {
            "metavar": "TYPE",
            "help": "Of a file without header: <u2, >u2, u1, or packed: RAW10, RAW12, RAW14, Mono12p, …",
        },
    ),
    "stride": ("--stride", {"type": int, "help": "Bytes per row of a file without header, padding included."}),
    "shift": (
        "--shift",
        {
            "type": int,
            "help": "Number of low bits to drop from left-aligned codes; --black and --white are in the shifted codes.",
        },
    ),
}
"""Fields of `RawSettings` and the flags that set them, which win over what a file says."""


def raw_options(leave_out: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Flags that say what raw files do not, given to the command as one `RawSettings` named ``settings``."""
    chosen = {field: option for field, option in RAW_OPTIONS.items() if field not in leave_out}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(**values: Any) -> Any:
            from noiseflow.raw.settings import RawSettings

            said = {field: values.pop(f"raw_{field}") for field in chosen}
            return command(settings=RawSettings(**said), **values)

        for field, (flag, how) in reversed(chosen.items()):
            with_settings = click.option(flag, f"raw_{field}", **how)(with_settings)
        return with_settings  # type: ignore[return-value]

    return decorate

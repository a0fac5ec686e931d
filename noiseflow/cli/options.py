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
"""Maximum number of digits of an integer in an option, so that it fits in 64 bits."""

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing output.")
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
    help="flat: a uniform scene or darks, which show the fixed pattern; static: any scene without motion.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")

QUIET = "noiseflow.quiet"
"""Key in the context's ``meta`` whose value is true if no progress is shown."""


def _be_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[QUIET] = value


quiet_option = click.option("--quiet", is_flag=True, expose_value=False, callback=_be_quiet, help="Show no progress.")


def print_json(content: Any) -> None:
    """Print a value as JSON on standard output, without wrapping lines."""
    answer(json_text(content, 2).rstrip("\n"), whole=True)


def split_option(what: str) -> Callable[[Command], Command]:
    """Return the option ``--split``, with `what` as its help, for a command that reads the patches of one split."""
    splits = Registered("noiseflow.patches.schema:SPLITS")
    return click.option("--split", type=splits, default="test", show_default=True, help=what)


def out_option(what: str) -> Callable[[Command], Command]:
    """Return the required option ``--out`` with `what` as its help."""
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
        raise click.BadParameter(
            f"{value!r}: expected one level in DN, or one for each pixel of the cell, such as 64,64,65,64 for R, G1, "
            "G2, B"
        )
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
            "help": "Colour filter array: RGGB, GRBG, GBRG, BGGR, MONO, QUAD or XTRANS; XTRANS+1+0 if 1 row and 0 "
            "columns of the cell are cropped before the first pixel; or all colours of the cell.",
        },
    ),
    "black": (
        "--black",
        {
            "callback": _levels,
            "metavar": "DN[,…]",
            "help": "Black level in DN: one, or one for each pixel of the CFA cell (R, G1, G2, B).",
        },
    ),
    "white": ("--white", {"type": float, "help": "White level in DN."}),
    "iso": ("--iso", {"type": float, "help": "ISO of the frames."}),
    "exposure_s": ("--exposure", {"type": float, "help": "Exposure time in seconds."}),
    "camera": ("--camera", {"help": "Name of the camera."}),
    "size": (
        "--size",
        {"callback": _size, "metavar": "WIDTHxHEIGHT", "help": "Size in pixels of a file without header."},
    ),
    "dtype": (
        "--dtype",
        {
            "metavar": "TYPE",
            "help": "Pixel type of a file without header: <u2, >u2, u1, or packed: RAW10, RAW12, RAW14, Mono12p, …",
        },
    ),
    "stride": ("--stride", {"type": int, "help": "Bytes per row of a file without header, padding included."}),
    "shift": (
        "--shift",
        {
            "type": int,
            "help": "Number of low bits to drop from left-aligned codes; --black and --white apply after the shift.",
        },
    ),
}
"""Field of `RawSettings` → the flag that sets it and click's arguments; a flag overrides the file's metadata."""


def raw_options(leave_out: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Add the flags that override or complete the metadata of raw files.

    The command receives their values as one `RawSettings`, the argument ``settings``.

    Parameters
    ----------
    leave_out : sequence of str
        Fields of `RawSettings` that get no flag.
    """
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

"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["PATH", "out_option", "overwrite_option", "seed_option"]

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is there under that name.")
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all randomness."
)


def out_option(what: str) -> Callable[[Command], Command]:
    """The required option ``--out`` of a command."""
    return click.option("--out", type=PATH, required=True, help=what)

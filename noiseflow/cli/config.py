"""Read the options of a command from a TOML file; options on the command line take precedence."""

from pathlib import Path
from typing import Any

import click

from noiseflow.cli.choices import did_you_mean
from noiseflow.core.errors import DataError
from noiseflow.core.reading.text import read_toml

__all__ = ["config_option"]


def _read(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Use the values in the file as defaults of the command's options."""
    if path is None:
        return
    content = read_toml(path, "options of the command, such as epochs = 40", DataError)
    options = [each for each in ctx.command.params if isinstance(each, click.Option) and each is not param]
    names = {word.removeprefix("--"): option for option in options for word in option.opts}
    found: dict[str, Any] = {}
    for name, value in content.items():
        option = names.get(name.replace("_", "-"))
        if option is None or option.name is None:
            near = did_you_mean(name, list(names))
            raise DataError(f"{path}: {name!r} is not an option of this command.{near}")
        found[option.name] = _words(option, value)
    ctx.default_map = {**(ctx.default_map or {}), **found}


def _words(option: click.Option, value: Any) -> Any:
    """Return a TOML value in the form of the command line: the table ``{couplings = 4}`` becomes ``couplings=4``."""
    if option.multiple:
        if isinstance(value, dict):
            return [f"{name}={str(each).lower() if isinstance(each, bool) else each}" for name, each in value.items()]
        return value if isinstance(value, list) else [value]
    return value if isinstance(value, bool) or option.nargs != 1 else str(value)


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_read,
    help="TOML file with options, such as epochs = 40; options on the command line take precedence.",
)

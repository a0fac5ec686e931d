"""The command line: parse, call one library function, print.

To add a command, write a module with a click command and give it a line in `COMMANDS`.
"""

import copy
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from noiseflow.cli.choices import did_you_mean
from noiseflow.cli.interrupts import begun, farewell, listening, remembering
from noiseflow.cli.options import quiet_option
from noiseflow.cli.streams import lost_answer, say
from noiseflow.core.errors import ExtrapolationWarning, FitWarning, NoiseflowError
from noiseflow.core.text import LONGEST_LINE, lines_text, plain_text
from noiseflow.core.version import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "demo",
    "simulate": "data.simulate",
    "ingest": "data.ingest",
    "calibrate": "data.calibrate",
    "fit": "models.fit",
    "fit-video": "models.fit_video",
    "distill": "models.distill",
    "sample": "models.sample",
    "denoise": "models.denoise",
    "train-denoiser": "models.train_denoiser",
    "transfer": "models.transfer",
    "synthesize": "data.synthesize",
    "clean-patches": "scores.clean_patches",
    "evaluate": "scores.evaluate",
    "evaluate-video": "scores.evaluate_video",
    "compare": "scores.compare",
    "benchmark": "scores.benchmark",
    "export": "models.export",
    "push": "models.push",
    "import": "models.import_",
    "profiles": "data.profiles",
    "info": "data.info",
}
"""Command → its module in this package, in the order of the work; the click command has the module's last name."""


class Commands(click.Group):
    """Imports a command's module when it is called, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; every command takes ``--quiet``."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"noiseflow.cli.{COMMANDS[cmd_name]}")
        command: click.Command = copy.copy(getattr(module, COMMANDS[cmd_name].rpartition(".")[2]))
        command.params = list(command.params)
        if not any(parameter.name == "quiet" for parameter in command.params):
            quiet_option(command)
        command.callback = remembering(command.callback)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown name, suggest the nearest one."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}.{did_you_mean(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their whole first sentences, which wrap where click would cut them."""
        commands = [(name, self.get_command(ctx, name)) for name in COMMANDS]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(1000)) for name, command in commands if command])

    def main(self, args: Sequence[str] | None = None, *more: Any, **how: Any) -> Any:
        """Run the command line; a signal to stop ends it with the status that is the custom."""
        words = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # Names of files need not be text.
                stream.reconfigure(errors="backslashreplace")
        with listening():
            try:
                return super().main(words, *more, obj=words, **how)
            except OSError as error:
                # Of click's own pages, such as that of --help.
                if (line := lost_answer()) is None:
                    line = _one_line(error)
                if line:
                    say(f"noiseflow: {line}")
                sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of ours or of the file system is one line and status 1."""
        try:
            os.getcwd()
        except FileNotFoundError:
            # Before torch, whose libraries end the process there.
            _end(ctx, "the current folder was removed; change to another one and give the command again")
        try:
            with begun(ctx, ctx.obj or []), warnings.catch_warnings():
                for kind in (ExtrapolationWarning, FitWarning):
                    warnings.simplefilter("always", kind)
                warnings.showwarning = _show_warning
                result = super().invoke(ctx)
        except click.ClickException as error:
            vars(error)["message"] = lines_text(error.message)
            raise
        except KeyboardInterrupt as stop:
            line, status = farewell(ctx, stop)
            say(f"noiseflow: {line}")
            ctx.exit(status)
        except (NoiseflowError, OSError, RecursionError, MemoryError, UnicodeEncodeError, ImportError) as error:
            if ctx.params.get("debug") or (isinstance(error, ImportError) and NO_ROOM not in str(error)):
                raise
            lost = lost_answer() if isinstance(error, OSError) else None
            _end(ctx, _one_line(error) if lost is None else lost)
        if (lost := lost_answer()) is not None:
            _end(ctx, lost)
        return result


def _end(ctx: click.Context, line: str) -> NoReturn:
    if line:
        say(f"noiseflow: {line}")
    ctx.exit(1)


WORLD: dict[type[Exception], str] = {
    RecursionError: "folders or files are nested too deep; move them up",
    MemoryError: "memory ran out; give less at a time",
    ImportError: "memory ran out while a library was loaded; give the process more",
    UnicodeEncodeError: "a file's name is no UTF-8, so it cannot be stored; rename it",
}
"""Errors that Python raises for what the world is like, and what to say."""

NO_ROOM = "failed to map segment"
"""What the loader of libraries says where memory is short; other failed imports are faults of an installation."""


def _one_line(error: BaseException) -> str:
    for kind, text in WORLD.items():
        if isinstance(error, kind):
            about = f" ({error.object!a})" if isinstance(error, UnicodeEncodeError) else ""
            return plain_text(text + about, LONGEST_LINE)
    if isinstance(error, OSError) and error.strerror and error.filename:
        return plain_text(f"{os.fsdecode(error.filename)}: {error.strerror.lower()}", LONGEST_LINE)
    return plain_text(str(error), LONGEST_LINE)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"noiseflow: warning: {plain_text(str(message), LONGEST_LINE)}")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="noiseflow")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Model the noise of a camera: from raw files to a fitted density, its samples and its scores.

    \b
    The path, without any data of your own:
        noiseflow demo demo/
    With raw files (a folder is a static burst of one scene, or frames with clean twins):
        noiseflow ingest raws/ --out patches.h5
        noiseflow fit patches.h5 --out run/
        noiseflow evaluate run/ patches.h5 --out report/
        noiseflow sample run/ clean.dng --iso 800 --out noisy.dng
    """  # noqa: D301

"""The command line: parse the arguments, call one library function, print the result.

To add a command, write a module with a click command and add a line to `COMMANDS`.
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
from noiseflow.cli.streams import buffered, lost_answer, say
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
"""Command → its module in this package, in the order of a workflow.

The click command has the same name as the module.
"""


class Commands(click.Group):
    """A group that imports a command's module when it is called, and prints each noiseflow error as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of a workflow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and give it ``--quiet``; return None for an unknown name."""
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
        """Find the command; for an unknown name, suggest the most similar one."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}.{did_you_mean(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their full first sentences: click would truncate them; here they wrap."""
        commands = [(name, self.get_command(ctx, name)) for name in COMMANDS]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(1000)) for name, command in commands if command])

    def main(self, args: Sequence[str] | None = None, *more: Any, **how: Any) -> Any:
        """Run the command line; if a signal stops it, exit with status 128 + number of the signal."""
        words = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # File names need not be valid text.
                stream.reconfigure(errors="backslashreplace")
        if sys.stdout is not None:
            sys.stdout = buffered(sys.stdout)
        with listening():
            try:
                return super().main(words, *more, obj=words, **how)
            except OSError as error:
                # While click printed its own text, such as that of --help.
                if (line := lost_answer()) is None:
                    line = _one_line(error)
                if line:
                    say(f"noiseflow: {line}")
                sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a noiseflow or file-system error is printed as one line, with exit status 1."""
        try:
            os.getcwd()
        except FileNotFoundError:
            # Checked before torch is imported: its libraries abort the process in such a folder.
            _end(ctx, "the current folder was removed; change to another folder and run the command again")
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
        except Exception as error:
            reason = _one_line(error)
            if reason is None or ctx.params.get("debug"):
                raise
            lost = lost_answer() if isinstance(error, OSError) else None
            _end(ctx, reason if lost is None else lost)
        if (lost := lost_answer()) is not None:
            _end(ctx, lost)
        return result


def _end(ctx: click.Context, line: str) -> NoReturn:
    if line:
        say(f"noiseflow: {line}")
    ctx.exit(1)


WORLD: tuple[tuple[type[Exception], str, str], ...] = (
    (RecursionError, "", "folders or files are nested too deep; move them up"),
    (MemoryError, "", "out of memory; process less data at a time"),
    # PyTorch has no class of its own for memory of the processor.
    (RuntimeError, "DefaultCPUAllocator", "out of memory; process less data at a time"),
    (RuntimeError, "out of memory", "out of memory on the device; process less data at a time"),
    (ImportError, "failed to map segment", "out of memory while a library was loaded; allow the process more memory"),
    # A library written in C whose start failed and that does not say why; HDF5 without memory does so.
    (
        SystemError,
        "without setting an exception",
        "a library failed while it was loaded, as happens without memory; allow the process more memory",
    ),
    (UnicodeEncodeError, "", "a file name is not valid UTF-8, so it cannot be stored; rename the file"),
)
"""Exceptions that the user's system or files cause: the class, words in its text, and the message to print."""


def _one_line(error: Exception) -> str | None:
    """Return the message of an error that the user can do something about; None for a fault of the program."""
    for kind, words, text in WORLD:
        if isinstance(error, kind) and words in str(error):
            about = f" ({error.object!a})" if isinstance(error, UnicodeEncodeError) else ""
            return plain_text(text + about, LONGEST_LINE)
    if isinstance(error, OSError) and error.strerror and error.filename:
        return plain_text(f"{os.fsdecode(error.filename)}: {error.strerror.lower()}", LONGEST_LINE)
    return plain_text(str(error), LONGEST_LINE) if isinstance(error, NoiseflowError | OSError) else None


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"noiseflow: warning: {plain_text(str(message), LONGEST_LINE)}")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="noiseflow")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Model the noise of a camera: fit a density to raw files, sample it and score it.

    \b
    Try it on simulated data:
        noiseflow demo demo/
    Use your own raw files (a folder is a static burst of one scene, or frames with clean twins):
        noiseflow ingest raws/ --out patches.h5
        noiseflow fit patches.h5 --out run/
        noiseflow evaluate run/ patches.h5 --out report/
        noiseflow sample run/ clean.dng --iso 800 --out noisy.dng
    """  # noqa: D301

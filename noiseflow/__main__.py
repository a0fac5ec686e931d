"""The command ``noiseflow``, and ``python -m noiseflow``."""

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the command listens: Ctrl-C ends the process as is the custom, without a traceback of its imports.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from noiseflow.cli import main as command

    command(prog_name="noiseflow")


if __name__ == "__main__":
    main()

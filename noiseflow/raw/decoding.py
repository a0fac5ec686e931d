"""A guard around other people's decoders."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noiseflow.core.errors import NoiseflowError, RawError

__all__ = ["decoding"]

TALKATIVE = ("tifffile", "exifread")
"""Loggers of decoders that would add lines of their own to ours."""

SILENT = logging.NullHandler()


@contextmanager
def decoding(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a damaged file into one `RawError`.

    Wrap the calls of the decoder alone, so that mistakes of our own stay visible.

    Parameters
    ----------
    path : Path
        File that is decoded, for messages.
    what : str
        Kind of file, for the message: "cannot be read as …".

    Raises
    ------
    RawError
        With the decoder's own reason in it.
    """
    for name in TALKATIVE:
        logging.getLogger(name).addHandler(SILENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except NoiseflowError:
        raise
    except MemoryError as error:
        raise RawError(f"{path}: cannot be read as {what}: it asks for more memory than there is") from error
    # Decoders raise anything on a damaged file: struct.error, KeyError, ZeroDivisionError, OverflowError, …
    except Exception as error:
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
        if "imagecodecs" in line:
            hint = "install it with: pip install imagecodecs"
            raise RawError(f"{path}: cannot be decoded as {what} ({line}); {hint}") from error
        raise RawError(f"{path}: cannot be read as {what} ({line}); is the file whole?") from error

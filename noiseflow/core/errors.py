"""The exceptions of the package.

All errors caused by a file, an argument or the system derive from `NoiseflowError`.  Their messages
say what was found, what was expected and what to do.  The command line prints the message
as one line and exits with status 1.
"""

__all__ = [
    "DataError",
    "ExtrapolationWarning",
    "FitWarning",
    "ModelError",
    "NoiseflowError",
    "OutputError",
    "RawError",
    "StoreError",
]


class NoiseflowError(Exception):
    """Base class of all errors that a user can cause and correct."""


class OutputError(NoiseflowError):
    """An output already exists, is an input, may not be replaced, is being written, or cannot be written."""


class RawError(NoiseflowError):
    """A raw file cannot be read, is not supported, or contradicts itself."""


class StoreError(NoiseflowError):
    """A patch store is missing, unfinished or damaged, or has an unknown schema."""


class DataError(NoiseflowError):
    """Values that no model can use: NaN, wrong shape, no patches, wrong units."""


class ModelError(NoiseflowError):
    """A model, its spec or its run folder is unknown, damaged or unsuitable for the request."""


class ExtrapolationWarning(UserWarning):
    """An ISO is outside the range on which a model was fitted."""


class FitWarning(UserWarning):
    """A fit had to be repaired, or its data contradict what their files declare."""

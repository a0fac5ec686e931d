"""The package's one family of exceptions.

Everything that is the fault of a file, an argument or the world derives from
`NoiseflowError`; its message names what was found, what was expected and what
to do.  The command line prints that one line and exits with status 1.
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
    """Base of all errors that a user can cause and mend."""


class OutputError(NoiseflowError):
    """An output is in the way, is an input, is not ours to replace, is being written, or cannot be written."""


class RawError(NoiseflowError):
    """A raw file cannot be read, is not supported, or contradicts itself."""


class StoreError(NoiseflowError):
    """A patch store is missing, unfinished, of another schema, or damaged."""


class DataError(NoiseflowError):
    """Values that no model can use: NaN, wrong shape, no patches, wrong units."""


class ModelError(NoiseflowError):
    """A model, its spec or its run folder is unknown, damaged or unfit for the request."""


class ExtrapolationWarning(UserWarning):
    """An ISO outside the range that a model was fitted on."""


class FitWarning(UserWarning):
    """A fit had to be repaired, or its data contradict what their files declare."""

"""Read plain values from a pickled ``.npy`` file, opcode by opcode, without executing anything.

Some data is published as a pickle.  `pickle.load` would call any function that the file names.  This module
interprets only the opcodes that build numbers, strings, lists, dictionaries and NumPy arrays, and refuses all
others.  Nothing is imported and nothing is called.
"""

import pickletools
import struct
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noiseflow.core.errors import NoiseflowError

__all__ = ["MAGIC_NPY", "plain_values"]

MAGIC_NPY = b"\x93NUMPY"
"""First bytes of an NPY file."""
DEEPEST = 40
"""Deepest nesting of values that is accepted."""
MOST_VALUES = 1_000_000
"""Largest number of opcodes that is accepted."""

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
)
"""Exceptions raised by NumPy's header reader and by damaged opcodes."""

PLAIN = {
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "STRING"),
}
"""Opcodes whose argument is the value."""

CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
NAMES = {
    **{f"{module} _reconstruct": "array" for module in ARRAYS},
    **{f"{module} scalar": "scalar" for module in ARRAYS},
    "numpy ndarray": "class",
    "numpy dtype": "dtype",
    "_codecs encode": "bytes",
}
"""Names that a pickle of NumPy values contains → how this module interprets them."""


@dataclass
class _Named:
    """A name in the pickle, or a call that it requests, with its arguments and state."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None


class _Mark:
    """Marker on the stack at the start of a run of values."""


def plain_values(path: Path, what: str, error: type[NoiseflowError], *, most: int) -> Any:
    """Read the value of an NPY file that contains one pickled object.

    Parameters
    ----------
    path : Path
        File to read.
    what : str
        What was expected, for the error.
    error : type
        Class of the error to raise.
    most : int
        Largest accepted size in bytes.

    Returns
    -------
    Any
        Numbers, strings, None, lists and dictionaries; arrays and tuples become lists.

    Raises
    ------
    NoiseflowError
        Of the class `error`, if the file is missing, too large, or not a pickle of plain values.
    """
    if not path.is_file() or path.stat().st_size > most:
        raise error(f"{path}: no such file, or one of more than {most:,} bytes; expected {what}")
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = header(file)
            if dtype.hasobject is False or shape != ():
                raise ValueError(f"an array of {dtype} {shape}, not one pickled object")
            pickled = file.read()
        value = _Machine().run(pickled)
        found = _plain(value)
        # NumPy pickles an array with the one object; older versions pickled the object itself.
        return found[0] if isinstance(value, _Named) and value.kind == "array" else found
    except UNREADABLE as reason:
        raise error(f"{path}: is not a pickle of plain values ({reason}); expected {what}") from reason


class _Machine:
    """Interpreter of pickle opcodes, for data only."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, pickled: bytes) -> Any:
        """Build the value that the opcodes describe."""
        for done, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if done > MOST_VALUES:
                raise ValueError(f"more than {MOST_VALUES:,} instructions")
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("it does not end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in PLAIN:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in TUPLES:
            stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
        else:
            step = getattr(self, f"_{name.lower()}", None)
            if step is None:
                raise ValueError(f"the instruction {name}")
            step(argument)

    def _proto(self, _: Any) -> None: ...

    def _frame(self, _: Any) -> None: ...

    def _mark(self, _: Any) -> None:
        self.stack.append(_Mark())

    def _since_mark(self) -> list[Any]:
        at = max(index for index, value in enumerate(self.stack) if isinstance(value, _Mark))
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _append(self, _: Any) -> None:
        value = self.stack.pop()
        self.stack[-1].append(value)

    def _appends(self, _: Any) -> None:
        values = self._since_mark()
        self.stack[-1].extend(values)

    def _setitem(self, _: Any) -> None:
        value, name = self.stack.pop(), self.stack.pop()
        self.stack[-1][name] = value

    def _setitems(self, _: Any) -> None:
        values = self._since_mark()
        self.stack[-1].update(zip(values[::2], values[1::2], strict=True))

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    _long_binput = _put = _binput

    def _binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    _long_binget = _get = _binget

    def _global(self, name: str) -> None:
        if name not in NAMES:
            raise ValueError(f"it names {name.replace(' ', '.')}")
        self.stack.append(_Named(NAMES[name]))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._global(f"{module} {name}")

    def _reduce(self, _: Any) -> None:
        arguments, named = self.stack.pop(), self.stack.pop()
        if not isinstance(named, _Named) or not isinstance(arguments, tuple):
            raise ValueError("it calls an object that is not a known name")
        self.stack.append(_Named(named.kind, arguments))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Named):
            raise ValueError("it sets the state of a plain value")
        self.stack[-1].state = state


def _plain(value: Any, depth: int = 0) -> Any:
    """Convert the interpreter's result to lists, dictionaries and numbers."""
    if depth > DEEPEST:
        raise ValueError("its values are nested too deep")
    if isinstance(value, _Named):
        return _of_numpy(value, depth)
    if isinstance(value, dict):
        return {str(name): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth + 1) for each in value]
    return value


def _of_numpy(value: _Named, depth: int) -> Any:
    if value.kind == "array":
        _, shape, dtype, _, content = value.state
        if isinstance(content, list):
            return _plain(content, depth + 1)
        # Fortran order would exchange rows and columns, but no such file has two dimensions.
        return np.frombuffer(_bytes(content), _dtype(dtype)).reshape(shape).tolist()
    if value.kind == "scalar":
        dtype, content = value.arguments
        return np.frombuffer(_bytes(content), _dtype(dtype))[0].item()
    raise ValueError(f"it has a {value.kind} in the place of a value")


def _dtype(value: _Named) -> "np.dtype[Any]":
    """Dtype of plain numbers, from its code and the byte order in its state."""
    code, order = str(value.arguments[0]), value.state[1]
    dtype: np.dtype[Any] = np.dtype(code).newbyteorder("=" if order == "|" else order)
    if dtype.kind not in "biuf":
        raise ValueError(f"values of {dtype}")
    return dtype


def _bytes(value: Any) -> bytes:
    """Bytes of a value; pickles for Python 2 store them as Latin-1 strings."""
    if isinstance(value, _Named) and value.kind == "bytes":
        return str(value.arguments[0]).encode("latin-1")
    return value if isinstance(value, bytes) else str(value).encode("latin-1")

"""Kernels in C++: declared once, checked when they are loaded and at each call, and taken where they serve.

A source in ``noiseflow/ops/csrc`` stands compiled in a wheel, or is compiled in a few seconds at its first use (see
`noiseflow.ops.libraries.build`).  Without either, for other devices and dtypes, under autocast and while a graph is
traced, an operation runs its reference, PyTorch's own operations.
"""

import ctypes
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from noiseflow.ops.graph_nodes import node_of
from noiseflow.ops.libraries.build import build, keep_memory_of_steps, say_once
from noiseflow.ops.readable import readable

__all__ = ["OPERATIONS", "PART", "Kernels", "Operation", "Source", "compiled", "contiguous"]

PART = 4096
"""Pixels that a kernel sums in one part, so that no sum depends on threads."""

DTYPES = {"float": torch.float32, "double": torch.float64}

_wanted: ContextVar[bool | None] = ContextVar("native kernels", default=None)


@contextmanager
def compiled(on: bool = True) -> Iterator[None]:
    """Take kernels in C++ on a CPU within the block, or do not.

    Outside of any such block they are taken where no gradient is needed, as in sampling, if the
    installation has them or there is a compiler.  Without either it warns once and goes on without kernels.

    Parameters
    ----------
    on : bool
        False runs PyTorch's own operations.
    """
    token = _wanted.set(on)
    try:
        yield
    finally:
        _wanted.reset(token)


@dataclass(frozen=True)
class Argument:
    """One argument of a kernel.

    Parameters
    ----------
    name : str
        Name of the argument.
    dtype : torch.dtype, optional
        Type of a tensor; None for a number.
    sizes : sequence of (str, code)
        Sizes of a tensor: the name that one gets where it is met first, or the expression that it must equal.
    optional : bool
        Whether a tensor may be left out.
    value : code, optional
        Expression of a number that follows from the sizes.
    kind : type, optional
        Type of a number that the caller gives.
    """

    name: str
    dtype: torch.dtype | None = None
    sizes: Sequence[tuple[str, CodeType]] = ()
    optional: bool = False
    value: CodeType | None = None
    kind: type | None = None


_ARGUMENT = re.compile(r"\s*(const )?(float|double|long) (\*?)(\w+)(\[[^\]]*\])?(\?)?(?:=([^,]+))?(?:,|$)")


@dataclass(frozen=True)
class Schema:
    """The typed arguments of a kernel.

    Written as in C++, with what Python knows besides: ``float *z[B, C, H, W]`` is a contiguous float32 tensor
    of that shape, whose sizes must agree among all arguments; ``?`` behind it means that it may be left
    out; ``long pixels=H * W`` follows from the sizes, and ``threads`` is PyTorch's number.

    >>> Schema("const float *x[B, N], float *sum[B], long batch=B, long count=N").declaration
    'const float *x, float *sum, long batch, long count'
    """

    text: str
    arguments: tuple[Argument, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Parse the text."""
        object.__setattr__(self, "arguments", tuple(_parsed(self.text)))

    @property
    def declaration(self) -> str:
        """The C++ parameter list."""
        plain = re.sub(r"\[[^\]]*\]\??|=[^,]+", "", self.text)
        return ", ".join(" ".join(part.split()) for part in plain.split(","))

    def passed(self, name: str, sizes: dict[str, Any], given: dict[str, Any]) -> list[Any]:
        """Pointers and numbers in C's order.

        Raises
        ------
        TypeError
            A missing, unknown, non-contiguous or wrongly typed argument, or a shape that does not fit.
        """
        sizes["threads"] = torch.get_num_threads()
        sizes.update((key, value) for key, value in given.items() if type(value) is int)
        found: list[Any] = []
        used = 0
        for argument in self.arguments:
            if argument.value is not None:
                found.append(eval(argument.value, sizes))  # noqa: S307
                continue
            if argument.name not in given:
                raise TypeError(f"{name}: argument {argument.name!r} is missing; it takes {self.text}")
            used += 1
            value = given[argument.name]
            if argument.dtype is None:
                if type(value) is not argument.kind:
                    raise _mistaken(name, argument, f"{argument.kind}", type(value))
                found.append(value)
            elif value is None and argument.optional:
                found.append(None)
            else:
                found.append(_pointer(name, argument, value, sizes))
        if used != len(given):
            unknown = sorted(given.keys() - {argument.name for argument in self.arguments if argument.value is None})
            raise TypeError(f"{name}: argument {unknown[0]!r} is not known; it takes {self.text}")
        return found


def _parsed(text: str) -> Iterator[Argument]:
    at = 0
    while at < len(text):
        match = _ARGUMENT.match(text, at)
        if match is None:
            raise TypeError(f"schema: expected a declaration as in C++ at {text[at:]!r}")
        _, c_type, star, name, sizes, optional, value = match.groups()
        at = match.end()
        if star:
            dims = [dim.strip() for dim in (sizes or "[]")[1:-1].split(",")]
            parsed = tuple((dim if dim.isidentifier() else "", compile(dim, text, "eval")) for dim in dims)
            yield Argument(name, DTYPES[c_type], parsed, bool(optional))
        elif value or name == "threads":
            yield Argument(name, value=compile((value or name).strip(), text, "eval"))
        else:
            yield Argument(name, kind=int if c_type == "long" else float)


def _pointer(name: str, argument: Argument, value: object, sizes: dict[str, Any]) -> int:
    if not isinstance(value, Tensor):
        raise _mistaken(name, argument, "a tensor", type(value))
    if value.dtype is not argument.dtype or not value.is_cpu:
        raise _mistaken(name, argument, f"{argument.dtype} on the CPU", f"{value.dtype} on {value.device}")
    if not value.is_contiguous():
        raise _mistaken(name, argument, "a contiguous tensor", f"strides {value.stride()}")
    shape = value.shape
    if len(shape) != len(argument.sizes):
        raise _mistaken(name, argument, f"{len(argument.sizes)} dimensions", tuple(shape))
    for (new, code), size in zip(argument.sizes, shape, strict=True):
        if new and new not in sizes:
            sizes[new] = size
        elif (expected := eval(code, sizes)) != size:  # noqa: S307
            raise _mistaken(name, argument, f"{expected} in {tuple(shape)}", size)
    return value.data_ptr()


def _mistaken(name: str, argument: Argument, expected: object, found: object) -> TypeError:
    return TypeError(f"{name}: argument {argument.name!r}: expected {expected}; got {found}")


@dataclass(frozen=True)
class Source:
    """C++ files built into one library, its constants, and its functions.

    Parameters
    ----------
    files : tuple of str
        Names in ``csrc``, without their ending.
    kernels : mapping
        Function → its `Schema`, as text.
    constants : mapping
        Macros that Python and C++ share.
    """

    files: tuple[str, ...]
    kernels: Mapping[str, str]
    constants: Mapping[str, int | float] = field(default_factory=dict)

    def __hash__(self) -> int:
        """By its files, which no two sources share."""
        return hash(self.files)


class Kernels:
    """The functions of one built library.

    Parameters
    ----------
    library : path
        Shared object.
    source : Source
        C++ files and schemas of its functions.
    defines : mapping
        Numbers of planes that it was built for, known to the schemas by name.

    Raises
    ------
    TypeError
        A function in C++ whose parameters are not those declared in Python.
    """

    def __init__(self, library: Path, source: Source, defines: Mapping[str, int]) -> None:
        loaded = _loaded(library)
        self._sizes: dict[str, Any] = {"PART": PART, **source.constants, **defines}
        self._functions = {}
        for name, text in source.kernels.items():
            schema = _schema(text)
            try:
                signature = getattr(loaded, f"{name}_parameters")
            except AttributeError as error:
                raise TypeError(f"{source.files}: no KERNEL({name}, …), which Python declares") from error
            signature.restype = ctypes.c_char_p
            there = signature().decode()
            if there != schema.declaration:
                raise TypeError(f"{name}: declared in Python as ({schema.declaration}); in C++ as ({there})")
            function = getattr(loaded, name)
            function.restype = None
            kinds = {int: ctypes.c_long, float: ctypes.c_float}
            function.argtypes = [
                ctypes.c_void_p if each.dtype else kinds[each.kind or int] for each in schema.arguments
            ]
            self._functions[name] = function, schema

    def __call__(self, name: str, **arguments: Tensor | float | None) -> None:
        """Call a function by the names of its arguments; it writes into tensors that it gets."""
        function, schema = self._functions[name]
        function(*schema.passed(name, dict(self._sizes), arguments))


_schema = cache(Schema)


@cache
def _keep_freed_memory() -> None:
    """Let glibc keep what is freed at the end of each heap, up to 64 MiB, for the next allocation.

    Otherwise the system takes tensors back as they are freed and zeroes their pages anew in each step, which is a
    quarter of its time.  glibc raises its limits for good when a block of the largest size that they take is
    freed; no page of it is touched.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8, device="cpu")  # Just below DEFAULT_MMAP_THRESHOLD_MAX.


@cache
def _built(source: Source, defines: tuple[tuple[str, int], ...]) -> Kernels | None:
    _keep_freed_memory()
    library = build(source.files, {"PART": PART, **source.constants, **dict(defines)})
    try:
        return None if library is None else Kernels(library, source, dict(defines))
    except OSError as error:
        say_once(f"{source.files[0]}: not loaded, which costs time only: {error}")
        return None


def _loaded(library: Path) -> ctypes.CDLL:
    """A library, whose threads are those that PyTorch has loaded, or else the system's."""
    try:
        return ctypes.CDLL(str(library))
    except OSError:
        # A prebuilt library names no OpenMP runtime; a PyTorch of another kind may have another one.
        ctypes.CDLL("libgomp.so.1", ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(library))


OPERATIONS: dict[str, "Operation"] = {}
"""Name → operation: the table that tests walk."""


@dataclass(frozen=True, eq=False)
class Operation:
    """A function of tensors with a reference in PyTorch and a kernel in C++, which takes the same arguments.

    Called as ``operation(*arguments)``.  The kernel serves float32 tensors on a CPU if `built_for` has
    numbers of planes for them, and where no gradient is needed unless it is `differentiable`.

    Parameters
    ----------
    reference : callable
        By PyTorch's operations, for every device and dtype; its name is the operation's.
    kernel : callable
        Kernels and the same arguments to the same results.
    source : Source
        C++ files that hold its kernels.
    built_for : callable
        The same arguments to the macros that the source is built with, or None where the kernel has no such form.
    differentiable : bool
        Whether the kernel has gradients.
    constant : tuple of str
        Arguments that the kernel has no gradient for, or takes in any dtype.
    results : callable, optional
        Function of the same arguments to tensors like the results, where the reference does more than shapes tell.

    Attributes
    ----------
    node : callable or None
        What stands for it in a compiled graph; None if it takes more than tensors and numbers.
    """

    reference: Callable[..., Any]
    kernel: Callable[..., Any]
    source: Source
    built_for: Callable[..., Mapping[str, int] | None]
    differentiable: bool = True
    constant: tuple[str, ...] = ()
    results: Callable[..., Any] | None = None
    node: Callable[..., Any] | None = field(init=False)
    _checked: tuple[bool, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Enter the table, and the graphs' own."""
        names = inspect.signature(self.reference).parameters
        object.__setattr__(self, "_checked", tuple(name not in self.constant for name in names))
        object.__setattr__(
            self, "node", node_of(self._run, self._run_for_gradients, self.reference, self.results or self.reference)
        )
        OPERATIONS[self.reference.__name__.lstrip("_")] = self

    def __call__(self, *arguments: Any) -> Any:
        """By the kernel if it serves, else by the reference; in a graph that is compiled for a CPU, by its node."""
        if torch.compiler.is_compiling() and self.node is not None and _on_a_processor(arguments):
            return self.node(*arguments)
        return self._run(*arguments)

    def _run(self, *arguments: Any) -> Any:
        kernels = self.kernels(*arguments)
        if kernels is None:
            return self.reference(*arguments)
        if torch.autograd.profiler._is_profiler_enabled:
            with torch.profiler.record_function(f"noiseflow::{self.reference.__name__.lstrip('_')}"):
                return self.kernel(kernels, *arguments)
        return self.kernel(kernels, *arguments)

    def _run_for_gradients(self, *arguments: Any) -> Any:
        """Within a graph that is compiled, which has first derivatives only, kernels are the default."""
        with compiled(_wanted.get() is not False):
            return self._run(*arguments)

    def kernels(self, *arguments: Any) -> Kernels | None:
        """The kernels for these arguments, or None where the reference is to run: one rule for all operations."""
        # A graph's values are not there yet; tensors of torch.func and of forward-mode differentiation
        # are more than their memory.
        if not readable() or forward_ad._current_level >= 0 or torch.is_autocast_enabled("cpu"):
            return None
        wanted, grad = _wanted.get(), torch.is_grad_enabled()
        if (grad and not (wanted and self.differentiable)) or wanted is False:
            return None
        for value, checked in zip(arguments, self._checked, strict=True):
            if isinstance(value, Tensor) and not _fits(value, checked, grad):
                return None
        if grad:
            keep_memory_of_steps()
        defines = self.built_for(*arguments)
        return None if defines is None else _built(self.source, tuple(sorted(defines.items())))


def _on_a_processor(arguments: tuple[Any, ...]) -> bool:
    """Whether a node serves: not on a GPU, under autocast, or in a graph to be saved, which must run without us."""
    # Before PyTorch 2.7 nobody can tell whether a graph is to be saved.
    if torch.is_autocast_enabled("cpu") or not hasattr(torch.compiler, "is_exporting") or torch.compiler.is_exporting():
        return False
    return all(each.is_cpu for each in arguments if isinstance(each, Tensor))


def _fits(value: Tensor, checked: bool, grad: bool) -> bool:
    if not value.is_cpu or not value.numel() or type(value) not in (Tensor, torch.nn.Parameter):
        return False
    if not checked:
        return not (grad and value.requires_grad)
    return value.dtype is torch.float32


def contiguous(*tensors: Tensor) -> list[Tensor]:
    """The same in float32, row by row, without gradients."""
    return [tensor.detach().to(torch.float32).contiguous() for tensor in tensors]

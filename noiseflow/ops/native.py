"""Kernels in C++: declared once, checked when loaded and at each call, and used wherever they apply.

The sources in ``noiseflow/ops/csrc`` are compiled in the wheel, or within a few seconds on first use (see
`noiseflow.ops.libraries.build`).  If neither is possible, and for other devices or dtypes, under autocast and while a
graph is traced, an operation runs its reference in plain PyTorch.
"""

import ctypes
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
from noiseflow.ops.libraries.build import build, say_once
from noiseflow.ops.readable import readable

__all__ = ["OPERATIONS", "PART", "Kernels", "Operation", "Source", "compiled", "contiguous"]

PART = 4096
"""Number of pixels that a kernel sums at a time, so that sums do not depend on the number of threads."""

DTYPES = {"float": torch.float32, "double": torch.float64}

_wanted: ContextVar[bool | None] = ContextVar("native kernels", default=None)


@contextmanager
def compiled(on: bool = True) -> Iterator[None]:
    """Context that switches C++ kernels on a CPU on or off.

    Outside such a context, kernels are used where no gradient is needed, as in sampling, provided the
    installation contains them or there is a compiler.  Otherwise one warning is given and plain PyTorch runs.

    Parameters
    ----------
    on : bool
        True uses kernels with gradients too; False runs plain PyTorch.
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
        Dtype of a tensor; None for a number.
    sizes : sequence of (str, code)
        For each dimension of a tensor: the name that its size defines if the name is new, and the expression it must
        equal.
    optional : bool
        Whether a tensor may be None.
    value : code, optional
        Expression of a number that follows from the sizes.
    kind : type, optional
        Type of a number given by the caller.
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

    The text is a C++ parameter list with additions: ``float *z[B, C, H, W]`` is a contiguous float32 tensor of that
    shape, and sizes of the same name must agree among all arguments.  A ``?`` after it means that it may be None.
    ``long pixels=H * W`` is computed from the sizes, and ``threads`` is PyTorch's number of threads.

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
        """Check the arguments of a call to kernel `name`; return pointers and numbers in the C++ order.

        `sizes` has the constants by name; the sizes of tensors are added to it.

        Raises
        ------
        TypeError
            A missing, unknown, non-contiguous or wrongly typed argument, or a mismatched shape.
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
    """C++ files built into one library, with its functions and constants.

    Parameters
    ----------
    files : tuple of str
        Names of sources in ``csrc``, without suffix.
    kernels : mapping
        Function → the text of its `Schema`.
    constants : mapping
        Macros shared by Python and C++.
    """

    files: tuple[str, ...]
    kernels: Mapping[str, str]
    constants: Mapping[str, int | float] = field(default_factory=dict)

    def __hash__(self) -> int:
        """Hash of the files, which are unique to a source."""
        return hash(self.files)


class Kernels:
    """The functions of one built library.

    Parameters
    ----------
    library : path
        Shared library file.
    source : Source
        Its C++ files and the schemas of its functions.
    defines : mapping
        Macros it was built with, such as numbers of planes; the schemas use them by name.

    Raises
    ------
    TypeError
        A function whose C++ parameters differ from those declared in Python.
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
                raise TypeError(f"{source.files}: no KERNEL({name}, …) in C++, but Python declares it") from error
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
        """Call a function with named arguments; it writes its results into tensors among them."""
        function, schema = self._functions[name]
        function(*schema.passed(name, dict(self._sizes), arguments))


_schema = cache(Schema)


@cache
def _keep_freed_memory() -> None:
    """Make glibc keep freed memory, up to 64 MiB per heap, for the next allocation.

    Otherwise the system zeroes the pages of freed tensors again, a quarter of each step's time.  glibc raises its
    thresholds for good once a block just below DEFAULT_MMAP_THRESHOLD_MAX is freed; its pages are never touched.
    """
    with suppress(RuntimeError):  # Without memory for the block, there is nothing to keep.
        torch.empty(2**25 - 2**16, dtype=torch.uint8, device="cpu")


@cache
def _built(source: Source, defines: tuple[tuple[str, int], ...]) -> Kernels | None:
    _keep_freed_memory()
    library = build(source.files, {"PART": PART, **source.constants, **dict(defines)})
    try:
        return None if library is None else Kernels(library, source, dict(defines))
    except OSError as error:
        say_once(f"{source.files[0]}: not loaded, so it runs slower: {error}")
        return None


def _loaded(library: Path) -> ctypes.CDLL:
    """Load a library, with the OpenMP runtime that PyTorch has loaded, or else the system's."""
    try:
        return ctypes.CDLL(str(library))
    except OSError:
        # A prebuilt library does not name its OpenMP runtime, and some builds of PyTorch load a different one.
        ctypes.CDLL("libgomp.so.1", ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(library))


OPERATIONS: dict[str, "Operation"] = {}
"""Name → operation.  Tests check every entry."""


@dataclass(frozen=True, eq=False)
class Operation:
    """A function of tensors with a reference in PyTorch and a kernel in C++ for the same arguments.

    Call it as ``operation(*arguments)``.  The kernel runs for float32 tensors on a CPU if `built_for` returns macros
    for them, and, unless it is `differentiable`, only where no gradient is needed.

    Parameters
    ----------
    reference : callable
        The operation in plain PyTorch, for every device and dtype; its name becomes the operation's.
    kernel : callable
        Function of `Kernels` and the same arguments that returns the same results.
    source : Source
        C++ files of the kernels.
    built_for : callable
        Function of the same arguments that returns the macros to build the source with; None if the kernel does not
        support them.
    differentiable : bool
        Whether the kernel has gradients.
    constant : tuple of str
        Arguments for which the kernel has no gradient, or which it accepts in any dtype.
    results : callable, optional
        Function of the same arguments that returns tensors like the results, if the reference reads values.

    Attributes
    ----------
    node : callable or None
        Node that represents the operation in a compiled graph; None if it takes more than tensors and numbers.
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
        """Register the operation in `OPERATIONS` and as a graph node."""
        names = inspect.signature(self.reference).parameters
        object.__setattr__(self, "_checked", tuple(name not in self.constant for name in names))
        object.__setattr__(
            self, "node", node_of(self._run, self._run_for_gradients, self.reference, self.results or self.reference)
        )
        OPERATIONS[self.reference.__name__.lstrip("_")] = self

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel if it applies, else the reference; in a graph compiled for a CPU, the node."""
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
        """Run with kernels unless switched off: a compiled graph needs first derivatives only."""
        with compiled(_wanted.get() is not False):
            return self._run(*arguments)

    def kernels(self, *arguments: Any) -> Kernels | None:
        """The kernels for these arguments, or None if the reference must run; one rule for all operations."""
        # Traced tensors have no values yet; those of torch.func and forward-mode AD hold more than their memory.
        if not readable() or forward_ad._current_level >= 0 or torch.is_autocast_enabled("cpu"):
            return None
        wanted, grad = _wanted.get(), torch.is_grad_enabled()
        if (grad and not (wanted and self.differentiable)) or wanted is False:
            return None
        for value, checked in zip(arguments, self._checked, strict=True):
            if isinstance(value, Tensor) and not _fits(value, checked, grad):
                return None
        defines = self.built_for(*arguments)
        return None if defines is None else _built(self.source, tuple(sorted(defines.items())))


def _on_a_processor(arguments: tuple[Any, ...]) -> bool:
    """Whether a node can be used: on a CPU, without autocast, and not for an exported graph, which must run alone."""
    # Before PyTorch 2.7 there is no way to tell whether a graph is being exported.
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
    """Copies or views of the tensors that are float32, contiguous and detached."""
    return [tensor.detach().to(torch.float32).contiguous() for tensor in tensors]

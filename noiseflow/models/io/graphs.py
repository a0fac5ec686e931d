"""Graphs of modules for any batch, height and width: ONNX, or a program of torch.export."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.core.extras import install
from noiseflow.core.output.marks import MARK

__all__ = ["GRAPHS", "free_sizes", "onnx_bytes", "onnx_graph", "program"]

OPSET = 18

LEAST = 2
"""Smallest batch, height and width; a size of 1 would be traced as a constant."""

MOST = 2**20
"""Largest batch, height and width; PyTorch 2.4 cannot multiply an unbounded size."""


def free_sizes() -> tuple[Any, Any, Any]:
    """Dynamic batch, rows and columns of a graph, for `torch.export.export`."""
    batch, rows, columns = (torch.export.Dim(name, min=LEAST, max=MOST) for name in ("batch", "rows", "columns"))
    return batch, rows, columns


def onnx_bytes(module: nn.Module, example: Tensor, about: dict[str, str]) -> bytes:
    """ONNX graph of a module from ``signal`` to ``result``, both (B, C, H, W) with any B, H and W.

    Parameters
    ----------
    module : nn.Module
        Module in evaluation mode.
    example : Tensor, shape (B, C, H, W)
        Example input for tracing, with a size of 2 or more along every dynamic axis.
    about : dict of str
        Metadata of the graph.

    Returns
    -------
    bytes
        Content of an ``.onnx`` file.

    Raises
    ------
    ModelError
        The extra ``[export]`` is not installed.
    """
    batch, height, width = free_sizes()
    return onnx_graph(module, {"signal": example}, {"signal": {0: batch, 2: height, 3: width}}, "result", about)


def onnx_graph(
    module: nn.Module, inputs: Mapping[str, Tensor], shapes: Mapping[str, Any], output: str, about: dict[str, str]
) -> bytes:
    """ONNX graph of a module, for ONNX Runtime.

    Parameters
    ----------
    module : nn.Module
        Module in evaluation mode.
    inputs : mapping of str to Tensor
        Names of the inputs, in order, with examples for tracing of a size of 2 or more along every dynamic axis.
    shapes : mapping of str to dict
        Dynamic axes of each input, in the form of `torch.export.export`.
    output : str
        Name of the output.
    about : dict of str
        Metadata of the graph.

    Returns
    -------
    bytes
        Content of an ``.onnx`` file.

    Raises
    ------
    ModelError
        The extra ``[export]`` is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ModelError(f"export needs libraries that are not installed: {install('export')} ({error})") from error
    with _quiet():
        made = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=tuple(shapes[name] for name in inputs),
            verbose=False,
            input_names=list(inputs),
            output_names=[output],
        )
    assert made is not None
    graph = made.model_proto
    onnx.helper.set_model_props(graph, about)
    graph.producer_name = MARK
    content: bytes = graph.SerializeToString()
    return content


def program(
    module: nn.Module, inputs: Mapping[str, Tensor], shapes: Mapping[str, Any], output: str, about: dict[str, str]
) -> bytes:
    """Program of a module for `torch.export.load`, with metadata in ``noiseflow.json``; arguments as `onnx_graph`."""
    with _quiet():
        sizes = tuple(shapes[name] for name in inputs)
        made = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=sizes, strict=False)
        # torch 2.13 cannot load programs with unused operations (an unbind without outputs).
        made.graph_module.graph.eliminate_dead_code()
        # It cannot decompose a loaded program with a range for an expression such as 2·rows; that for rows suffices.
        ranges = made.range_constraints
        for size in [size for size in ranges if not size.is_Symbol]:
            del ranges[size]
        # Written to memory, because torch's own file writer aborts on names that are not UTF-8.
        content = io.BytesIO()
        torch.export.save(made, content, extra_files={f"{MARK}.json": json.dumps(about)})
    return content.getvalue()


Graph = Callable[[nn.Module, Mapping[str, Tensor], Mapping[str, Any], str, dict[str, str]], bytes]

GRAPHS: dict[str, Graph] = {".onnx": onnx_graph, ".pt2": program}
"""Suffix of a file → function that returns its content."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence logs and deprecation warnings of the exporter and its libraries."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)

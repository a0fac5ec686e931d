"""Any module as a graph for any batch, height and width: ONNX, or a program of torch.export."""

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
"""Smallest batch, height and width to trace with: a size of 1 would become a constant."""

MOST = 2**20
"""Largest ones: PyTorch 2.4 cannot multiply a size without an end."""


def free_sizes() -> tuple[Any, Any, Any]:
    """Batch, rows and columns that stay free in a graph, as `torch.export.export` takes them."""
    batch, rows, columns = (torch.export.Dim(name, min=LEAST, max=MOST) for name in ("batch", "rows", "columns"))
    return batch, rows, columns


def onnx_bytes(module: nn.Module, example: Tensor, about: dict[str, str]) -> bytes:
    """Graph of a module from ``signal`` to ``result``, both (B, C, H, W) of any B, H and W.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode.
    example : Tensor, shape (B, C, H, W)
        Input to trace with, 2 or more along every dynamic axis.
    about : dict of str
        Metadata of the graph.

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
    """Graph of a module for ONNX Runtime.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode.
    inputs : mapping of str to Tensor
        Names, in order, and examples to trace with, 2 or more along every dynamic axis.
    shapes : mapping of str to dict
        Dynamic axes of each input, as `torch.export.export` takes them.
    output : str
        Name of the output.
    about : dict of str
        Metadata of the graph.

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
    """Graph of a module for `torch.export.load`, with the metadata in ``noiseflow.json``; as `onnx_graph`."""
    with _quiet():
        sizes = tuple(shapes[name] for name in inputs)
        made = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=sizes, strict=False)
        # torch 2.13 cannot load unused operations (an unbind without outputs).
        made.graph_module.graph.eliminate_dead_code()
        # Nor decompose a loaded program with the range of an expression, as of 2·rows; that of rows implies it.
        ranges = made.range_constraints
        for size in [size for size in ranges if not size.is_Symbol]:
            del ranges[size]
        # In memory: its own writer aborts on names that are not UTF-8.
        content = io.BytesIO()
        torch.export.save(made, content, extra_files={f"{MARK}.json": json.dumps(about)})
    return content.getvalue()


Graph = Callable[[nn.Module, Mapping[str, Tensor], Mapping[str, Any], str, dict[str, str]], bytes]

GRAPHS: dict[str, Graph] = {".onnx": onnx_graph, ".pt2": program}
"""Suffix of a file → function that makes its content."""


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

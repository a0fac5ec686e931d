"""Any module as an ONNX graph."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.core.extras import install
from noiseflow.core.output.marks import MARK
from noiseflow.models.io.export import LEAST, OPSET, quiet

__all__ = ["onnx_bytes", "onnx_graph"]


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
    batch, height, width = (torch.export.Dim(name, min=LEAST) for name in ("batch", "rows", "columns"))
    return onnx_graph(module, {"signal": example}, {"signal": {0: batch, 2: height, 3: width}}, "result", about)


def onnx_graph(
    module: nn.Module, inputs: Mapping[str, Tensor], shapes: Mapping[str, Any], output: str, about: dict[str, str]
) -> bytes:
    """Graph of a module.

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
    with quiet():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=tuple(shapes[name] for name in inputs),
            verbose=False,
            input_names=list(inputs),
            output_names=[output],
        )
    assert program is not None
    graph = program.model_proto
    onnx.helper.set_model_props(graph, about)
    graph.producer_name = MARK
    content: bytes = graph.SerializeToString()
    return content

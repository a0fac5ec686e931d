"""Operations as nodes of compiled graphs: PyTorch's own check of each, and the same numbers as without a graph."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from noiseflow.augment.augmentation import GRAPHS_TAKE_GENERATORS
from noiseflow.flows import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.ops.native import OPERATIONS, compiled
from tests.ops.test_operations import drawn, needs_compiler, outcome

nodes = pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.node])


def test_only_operations_on_networks_have_no_node() -> None:
    assert {name for name, operation in OPERATIONS.items() if operation.node is None} == {"couple", "coupling_chain"}


# Of PyTorch 2.15 itself.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@nodes
def test_pytorch_finds_no_fault_in_a_node(name: str) -> None:
    operation = OPERATIONS[name]
    arguments = [
        each.requires_grad_() if isinstance(each, Tensor) and learned and each.is_floating_point() else each
        for each, learned in zip(drawn(name, torch.float32), operation._checked, strict=True)
    ]
    with compiled():
        opcheck(operation.node, tuple(arguments))


@nodes
def test_a_compiled_graph_gives_the_numbers_and_gradients_of_the_call(name: str) -> None:
    operation = OPERATIONS[name]
    # Before PyTorch 2.7 nobody can tell whether a graph is to be saved: it takes the reference.
    by_node = hasattr(torch.compiler, "is_exporting")
    if operation.results is not None and not by_node:
        pytest.skip("a reference that reads values is no graph")
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    torch._dynamo.reset()
    expected = outcome(operation.reference, drawn(name, torch.float64), operation._checked)
    in_graph = torch.compile(lambda *given: operation(*given), backend=backend, fullgraph=True)
    found = outcome(in_graph, drawn(name, torch.float64), operation._checked)
    assert any(f"noiseflow.{name}" in target for target in seen) == by_node
    for value, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(value, reference)


@needs_compiler
def test_the_profiler_shows_kernels_by_name() -> None:
    with torch.no_grad(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        OPERATIONS["multiply_by_std"](*drawn("multiply_by_std", torch.float32))
    assert "noiseflow::multiply_by_std" in {event.key for event in profiled.key_averages()}


@pytest.mark.skipif(not GRAPHS_TAKE_GENERATORS, reason="older torch breaks the graph at a dataclass or a generator")
@pytest.mark.parametrize("model", ["physics_flow", "noise_flow"])
def test_a_density_is_one_graph_with_the_gradients_of_the_call(model: str) -> None:
    made = build(ModelSpec(model, cameras=("A",), isos=(100.0, 800.0))).double().eval()
    draw = torch.Generator().manual_seed(1)
    clean = torch.rand(3, 4, 8, 8, generator=draw, dtype=torch.float64)
    noise = 0.02 * torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    cond = Conditions(clean, torch.full((3,), 200.0), torch.zeros(3).long())
    torch._dynamo.reset()
    in_graph = torch.compile(made, backend="aot_eager", fullgraph=True)
    gradients = []
    for density in (made, in_graph):
        made.zero_grad()
        density(noise, cond).mean().backward()
        gradients.append([parameter.grad for parameter in made.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(in_graph(noise, cond), made(noise, cond))
    sample = torch.compile(made.sample, backend="aot_eager", fullgraph=True)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(1)
        expected = made.sample(cond)
        torch.manual_seed(1)
        torch.testing.assert_close(sample(cond), expected)

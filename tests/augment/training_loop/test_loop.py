"""`AddCameraNoise` in a loop: no weights of its own, the same noise in workers, ranks, copies and compiled steps."""

import copy
import io
import os
import pickle
from typing import Any

import pytest
import torch
from model_table import generator, randomised_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from noiseflow.augment import AddCameraNoise, AddNoiseToPictures, NoisyBatch
from noiseflow.augment.augmentation import GRAPHS_TAKE_GENERATORS


def augmentation() -> AddCameraNoise:
    """Of physics_flow with couplings, whose masks must travel to workers."""
    return AddCameraNoise(
        randomised_model("physics_flow", "bayer", spread=0.03, couplings=2).float(), iso=400.0, seed=9
    )


def clean(count: int = 4) -> Tensor:
    return torch.rand(count, 4, 6, 8, generator=generator(count))


def test_nothing_of_it_is_trained_or_saved() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 1), augmentation())
    assert {name for name, _ in net.named_parameters()} == {"0.weight", "0.bias"} == {*net.state_dict()}
    add = augmentation()
    assert not list(add.buffers())
    assert add.half().models[0].flow.transforms[0].log_beta1.dtype == torch.float32
    assert not add.train().models[0].training


def test_copies_draw_the_same() -> None:
    add, file = augmentation(), io.BytesIO()
    add.set_epoch(3)
    expected = add(clean(), range(4)).noisy
    torch.save(add, file)
    file.seek(0)
    for other in (copy.deepcopy(add), pickle.loads(pickle.dumps(add)), torch.load(file, weights_only=False)):
        assert torch.equal(other(clean(), range(4)).noisy, expected)
        other.set_epoch(0)
    assert torch.equal(add(clean(), range(4)).noisy, expected)


class Samples(Dataset[NoisyBatch]):
    def __init__(self) -> None:
        self.add = augmentation()

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> NoisyBatch:
        return self.add(clean(index + 1)[0], [index])


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_share_the_epoch_and_draw_the_same(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, __import__("sys").path)))
    samples = Samples()
    loader: DataLoader[NoisyBatch] = DataLoader(
        samples, 4, num_workers=1, multiprocessing_context=start, persistent_workers=True
    )
    found = []
    for epoch in (0, 1):
        samples.add.set_epoch(epoch)
        found.append(list(loader))
        expected = torch.stack([samples[index].noisy for index in range(6)])
        assert torch.equal(torch.cat([batch.noisy for batch in found[-1]]), expected)
    assert not torch.equal(found[0][0].noisy, found[1][0].noisy)
    assert [len(batch.camera) for batch in found[0]] == [4, 2]


def test_a_batch_collates_and_moves() -> None:
    from torch.utils.data import default_collate

    add = augmentation()
    one, two = add(clean()[0], [3]), add(clean()[1], [8])
    both = default_collate([one, two])
    assert isinstance(both, NoisyBatch)
    assert both.noisy.shape == (2, 4, 6, 8)
    assert both.camera == one.camera + two.camera
    assert torch.equal(both.iso, torch.cat([one.iso, two.iso]))
    moved = both.to("meta", torch.float64)
    assert moved.noisy.is_meta
    assert moved.noisy.dtype == torch.float64
    assert moved.iso.is_meta
    assert moved.camera_index.dtype == torch.int64
    both.noisy = both.noisy + 0  # as Lightning writes the fields of a batch


@pytest.mark.parametrize("pictures", [False, True])
def test_a_compiled_step_is_one_graph_with_the_same_numbers(pictures: bool) -> None:
    add = AddNoiseToPictures(augmentation()) if pictures else augmentation()
    planes = 3 if pictures else 4
    net = nn.Conv2d(planes, planes, 1)

    def step(given: Tensor) -> Tensor:
        batch = add(given)
        return (net(batch.noisy) - batch.clean).square().mean() + batch.noise_level.mean() + batch.iso.log().mean()

    torch._dynamo.reset()
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    for count in (4, 4, 3, 4):
        given = clean(count)[:, :planes]
        torch.manual_seed(1)
        expected = step(given)
        torch.manual_seed(1)
        loss = compiled(given)
        torch.testing.assert_close(loss, expected)
        loss.backward()


def test_compiled_calls_draw_anew_and_keep_their_arguments() -> None:
    add = augmentation()
    torch._dynamo.reset()

    def twice(given: Tensor) -> tuple[Tensor, Tensor]:
        return add(given).noisy, add(given).noisy

    one, two = torch.compile(twice, backend="aot_eager", fullgraph=True)(clean())
    assert not torch.equal(one, two)

    def keyed(given: Tensor, index: Tensor) -> Tensor:
        return add(given, index, epoch=2, iso=300.0, camera="B").noisy

    found = torch.compile(keyed, backend="aot_eager", fullgraph=True)(clean(), torch.arange(4))
    assert torch.equal(found, keyed(clean(), torch.arange(4)))


@pytest.mark.skipif(not GRAPHS_TAKE_GENERATORS, reason="older torch breaks the graph at a generator")
def test_a_compiled_call_draws_from_the_generator_that_it_is_given() -> None:
    add = augmentation()
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda given, source: add(given, generator=source).noisy, backend="aot_eager", fullgraph=True
    )
    one, other, expected = generator(1), generator(2), generator(1)
    for _ in range(2):
        assert torch.equal(compiled(clean(), one), add(clean(), generator=expected).noisy)
    # Another generator is not taken for the first one, and the first one goes on where it stood.
    assert torch.equal(compiled(clean(), other), add(clean(), generator=generator(2)).noisy)
    assert torch.equal(compiled(clean(), one), add(clean(), generator=expected).noisy)


def _rank(rank: int, port: int, results: Any) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add, self.conv = augmentation(), nn.Conv2d(4, 4, 1)

        def forward(self, given: Tensor, index: list[int]) -> Tensor:
            batch = self.add(given, index)
            return (self.conv(batch.noisy) - batch.clean).square().mean()

    net = nn.parallel.DistributedDataParallel(Net())
    own = [rank, rank + 2]
    for _ in range(2):
        net(clean()[own], own).backward()
    results.put((rank, net.module.add(clean()[own], own).noisy.tolist()))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_draw_what_one_draws() -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    ranks = [context.Process(target=_rank, args=(rank, port, results)) for rank in (0, 1)]
    for each in ranks:
        each.start()
    found = dict(results.get() for _ in ranks)
    for each in ranks:
        each.join()
        assert each.exitcode == 0
    expected = augmentation()(clean(), range(4)).noisy
    for rank, noisy in found.items():
        # A product of matrices may round the last bit by the size of the batch.
        torch.testing.assert_close(torch.tensor(noisy), expected[[rank, rank + 2]], rtol=0, atol=1e-6)

"""The judge that learns: what it sees, that it is tested on what it was not trained on, and its training."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from noiseflow.evaluate.judges import network
from noiseflow.evaluate.judges.network import hits, seen

Array = np.ndarray


def test_it_sees_clipped_residuals_and_the_root_of_the_signal() -> None:
    residual = torch.randn(2, 3, 30, 26, generator=torch.Generator().manual_seed(0))
    residual[0, 0, 0, 0], residual[1, 2, 5, 5], residual[0, 1, 1, 1] = 9.0, -11.0, 7.9
    found = seen(residual, torch.tensor([0.25, -0.1]))
    assert found.shape == (2, 4, 24, 24)
    torch.testing.assert_close(found[:, :3], residual[:, :, :24, :24].clamp(-8, 8))
    assert found[:, 3].flatten(1).unique(dim=1).tolist() == [[0.5], [0.0]]


def patches(levels: Array, seed: int) -> Array:
    """Patches of two planes of mean `levels`."""
    return levels[:, None, None, None] + 0.3 * np.random.default_rng(seed).normal(size=(len(levels), 2, 8, 9))


@pytest.mark.parametrize(("groups", "turned"), [(8, False), (8, True), (2, True)])
def test_each_half_is_judged_by_what_was_learnt_of_the_other(
    monkeypatch: pytest.MonkeyPatch, groups: int, turned: bool
) -> None:
    """Where real and sampled change places in the other half of the groups, all answers are wrong."""
    monkeypatch.setattr(network, "STEPS", 15)
    group = np.sort(np.arange(40) % groups)
    # Of groups 0, 2, 4 … and the others; of fewer than four groups, of the first half of the pairs and the second.
    other = (group % 2 == 1) if groups > 3 else np.arange(40) >= 20
    sign = np.where(other & turned, -1.0, 1.0)
    found = hits(patches(sign, 1), patches(-sign, 2), group)
    assert found.tolist() == [0.0 if turned else 2.0] * 40


def test_patches_that_are_alike_are_right_by_half() -> None:
    """Of a network that says 0 of both: half a hit for each of two."""

    class Silent(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(x))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "_trained", lambda *arguments: Silent())
        assert hits(patches(np.ones(6), 0), patches(np.ones(6), 1), np.arange(6)).tolist() == [1.0] * 6


def test_a_step_is_adamw_on_the_logistic_loss_with_a_rate_that_falls_as_a_cosine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three steps of the same draws, written out again, give the same answers to 1e-4."""
    monkeypatch.setattr(network, "STEPS", 3)
    pairs = torch.from_numpy(np.stack([patches(np.ones(10), 1), patches(-np.ones(10), 2)], 1)).float()
    rows = np.arange(1, 10, 2)
    found = network._trained(pairs, rows, 5)
    draw = torch.Generator().manual_seed(5)
    of: Any = network._Network(2, draw)
    assert [each.weight.std().item() for each in (of.first, of.second)] == pytest.approx(
        [math.sqrt(2 / (2 * 9)), math.sqrt(2 / (8 * 9))], rel=0.2
    )
    optimiser = torch.optim.AdamW(of.parameters(), 1.0, weight_decay=1e-2)
    for rate in (1.0, 0.75, 0.25):
        optimiser.param_groups[0]["lr"] = 1e-2 * rate
        chosen = rows[torch.randint(5, (32,), generator=draw).numpy()]
        down, across = (int(torch.randint(4, (1,), generator=draw)) for _ in range(2))
        real, sampled = of(pairs[chosen][..., down:, across:].flatten(0, 1)).reshape(-1, 2).T
        loss = (softplus(-real) + softplus(sampled)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        torch.testing.assert_close(found(pairs[:, 0]), of.eval()(pairs[:, 0]), rtol=1e-4, atol=1e-5)
    assert not found.training


def test_the_network_s_answer_is_of_the_means_and_squares_of_its_maps() -> None:
    of: Any = network._Network(3, torch.Generator().manual_seed(1)).eval()
    with torch.no_grad():
        assert not of(torch.ones(2, 3, 9, 8)).any()
        of.last.weight.normal_(generator=torch.Generator().manual_seed(2))
        x = torch.randn(4, 3, 9, 8, generator=torch.Generator().manual_seed(3))
        one = torch.nn.functional.conv2d(x, of.first.weight, of.first.bias).relu()
        two = torch.nn.functional.conv2d(one, of.second.weight, of.second.bias).relu()
        features = torch.cat([f for maps in (x, one, two) for f in (maps.mean((2, 3)), (maps**2).mean((2, 3)))], 1)
        expected = of.last(features / math.sqrt(1 + of.norm.eps))[:, 0]
        torch.testing.assert_close(of(x), expected)
    assert features.shape[1] == 2 * (3 + 8 + 8)

"""Weights of earlier versions, brought into the form of this one."""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

__all__ = ["EarlierWeights", "brought_up"]


class EarlierWeights(nn.Module):
    """A transform whose parameters once had another shape: it says how the old ones become the new."""

    @abstractmethod
    def bring_up(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Change old weights in place.

        Parameters
        ----------
        weights : dict of str to Tensor
            Of a whole model, by name.
        prefix : str
            What the names of this transform's weights begin with.
        """

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self.bring_up(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def brought_up(module: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a module, those of earlier versions in the form of this one."""
    weights = dict(weights)
    for name, part in module.named_modules():
        if isinstance(part, EarlierWeights):
            part.bring_up(weights, f"{name}." if name else "")
    return weights

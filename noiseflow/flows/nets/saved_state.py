"""State dicts of modules: constants are not saved, and weights of earlier versions are converted on loading."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SavedState", "brought_up", "log_of"]


class SavedState(nn.Module):
    """A module whose constants are not saved, and which converts the weights of earlier versions.

    Constants that follow from the constructor's arguments are not part of the state dict.  They move with the module,
    and every move restores them from the values computed at construction.  So a module built on the meta device gets
    its constants when it is given memory.
    """

    def _bring_up(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Convert the weights of an earlier version to this one, in place; by default nothing changes.

        Parameters
        ----------
        weights : dict of str to Tensor
            Weights of the whole model, by name.
        prefix : str
            Prefix of the names of this module's weights.
        """

    def _constant(self, name: str, values: Tensor) -> None:
        """Register a constant as an attribute of that name; `values` is a tensor on the CPU."""
        self.__dict__.setdefault("_constant_values", {})[name] = values
        self.register_buffer(name, values.clone(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SavedState":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, values in self.__dict__.get("_constant_values", {}).items():
            moved = self._buffers[name]
            assert moved is not None
            if not moved.is_meta:
                self._buffers[name] = values.to(moved.device, moved.dtype, copy=True)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self._bring_up(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
        for name, values in self.__dict__.get("_constant_values", {}).items():
            if (own := self._buffers[name]) is not None and own.is_meta:
                # Loaded with assign=True onto a module without memory.
                device = next((each.device for each in self.parameters() if not each.is_meta), own.device)
                self._buffers[name] = values.to(device)


def brought_up(module: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy the weights of a module, with those of earlier versions converted to this one."""
    weights = dict(weights)
    for name, part in module.named_modules():
        if isinstance(part, SavedState):
            part._bring_up(weights, f"{name}." if name else "")
    return weights


def log_of(isos: Any) -> Tensor:
    """Natural log of ISOs, float64, on the CPU regardless of the default device."""
    return torch.tensor(isos, dtype=torch.float64, device="cpu").log()

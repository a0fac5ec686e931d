"""What of a module is saved: not the constants that follow from its arguments, and weights in today's form."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SavedState", "brought_up", "log_of"]


class SavedState(nn.Module):
    """A module that says what of its state is saved, and reads the weights of earlier versions.

    Constants that follow from its arguments are not saved.  They move with the module.  Whatever moves it, they are
    filled again from what was computed at first: a module that was made on the meta device gets them with its memory.
    """

    def _bring_up(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Bring weights of an earlier version into the form of this one, in place; here they stay as they are.

        Parameters
        ----------
        weights : dict of str to Tensor
            Weights of a whole model, by name.
        prefix : str
            What the names of this module's weights begin with.
        """

    def _constant(self, name: str, values: Tensor) -> None:
        """Add a constant, an attribute of that name; the values lie on the CPU."""
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
    """The weights of a module, those of earlier versions in the form of this one."""
    weights = dict(weights)
    for name, part in module.named_modules():
        if isinstance(part, SavedState):
            part._bring_up(weights, f"{name}." if name else "")
    return weights


def log_of(isos: Any) -> Tensor:
    """Natural log of ISOs, float64, on the CPU whatever the default device is."""
    return torch.tensor(isos, dtype=torch.float64, device="cpu").log()

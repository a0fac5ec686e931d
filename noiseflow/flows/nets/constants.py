"""Constants of a module that follow from its arguments: buffers that are not saved, and never left unfilled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Constants", "log_of"]


class Constants(nn.Module):
    """A module with constants that follow from its arguments, so that they are not in its state.

    They move with the module.  Whatever moves it, they are filled again from what was computed at first: a module
    that was made on the meta device gets them with its memory.
    """

    def _constant(self, name: str, values: Tensor) -> None:
        """Add a constant, an attribute of that name; the values lie on the CPU."""
        self.__dict__.setdefault("_constant_values", {})[name] = values
        self.register_buffer(name, values.clone(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Constants":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, values in self.__dict__.get("_constant_values", {}).items():
            moved = self._buffers[name]
            assert moved is not None
            if not moved.is_meta:
                self._buffers[name] = values.to(moved.device, moved.dtype, copy=True)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        for name, values in self.__dict__.get("_constant_values", {}).items():
            if (own := self._buffers[name]) is not None and own.is_meta:
                # Loaded with assign=True onto a module without memory.
                device = next((each.device for each in self.parameters() if not each.is_meta), own.device)
                self._buffers[name] = values.to(device)


def log_of(isos: Any) -> Tensor:
    """Natural log of ISOs, float64, on the CPU whatever the default device is."""
    return torch.tensor(isos, dtype=torch.float64, device="cpu").log()

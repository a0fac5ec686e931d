"""Rectangles of a frame."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Window"]


@dataclass(frozen=True)
class Window:
    """A rectangle within a frame, in pixels of a plane."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """Index of the row after the last one."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """Index of the column after the last one."""
        return self.left + self.width

    @classmethod
    def between(cls, top: int, left: int, bottom: int, right: int) -> "Window":
        """Build a window from its edges."""
        return cls(top, left, bottom - top, right - left)

    def grown(self, margin: int, size: tuple[int, int]) -> "Window":
        """The window with a margin on every side, cut to a frame of `size`."""
        return Window.between(
            max(self.top - margin, 0),
            max(self.left - margin, 0),
            min(self.bottom + margin, size[0]),
            min(self.right + margin, size[1]),
        )

    def intersection(self, other: "Window") -> "Window":
        """Intersection with another window."""
        return Window.between(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def of(self, values: Tensor, whole: "Window") -> Tensor:
        """Crop values (…, H, W) of the window `whole` to this window."""
        top, left = self.top - whole.top, self.left - whole.left
        return values[..., top : top + self.height, left : left + self.width]

"""Unpack pixels that share bytes with their neighbours.

MIPI packings store the high eight bits of each pixel of a group in a byte, followed by the low bits of
all of them; GenICam packings ending in ``p`` are one little-endian stream of bits.

References
----------
MIPI Alliance: CSI-2 specification, section on raw data formats (RAW10, RAW12, RAW14);
EMVA: GenICam Pixel Format Naming Convention 2.4, section on packed formats;
GigE Vision specification 1.2 for the older ``Mono10Packed`` and ``Mono12Packed``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PACKINGS", "Packing"]

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Packing:
    """How pixels are packed into bytes.

    Parameters
    ----------
    bits : int
        Bits per code.
    pixels, size : int
        Pixels per group, and bytes per group.
    unpack : callable
        Converts bytes of shape (..., size) to uint16 codes of shape (..., pixels).
    """

    bits: int
    pixels: int
    size: int
    unpack: Callable[[Bytes], NDArray[np.uint16]]

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of `width` pixels, rounded up to whole groups."""
        return -(-width // self.pixels) * self.size

    def rows(self, content: Bytes, width: int) -> NDArray[np.uint16]:
        """Unpack rows of bytes, shape (H, row_bytes), to uint16 codes, shape (H, width)."""
        groups = content.reshape(len(content), -1, self.size)
        codes = np.asarray(self.unpack(groups), np.uint16).reshape(len(content), -1)
        return codes[:, :width]


def _mipi(bits: int, pixels: int) -> Callable[[Bytes], NDArray[np.uint16]]:
    """Make the function that unpacks a MIPI packing: high bytes first, then the low bits, first pixel lowest."""
    low = bits - 8

    def unpack(groups: Bytes) -> NDArray[np.uint16]:
        tail = np.zeros(groups.shape[:-1], np.uint32)
        for place in range(pixels, groups.shape[-1]):
            tail |= groups[..., place].astype(np.uint32) << (8 * (place - pixels))
        shifts = np.arange(pixels, dtype=np.uint32) * low
        rest = (tail[..., None] >> shifts) & ((1 << low) - 1)
        return ((groups[..., :pixels].astype(np.uint32) << low) | rest).astype(np.uint16)

    return unpack


def _stream(bits: int, pixels: int) -> Callable[[Bytes], NDArray[np.uint16]]:
    """Make the function that unpacks a little-endian bit stream, first pixel in the lowest bits."""

    def unpack(groups: Bytes) -> NDArray[np.uint16]:
        word = np.zeros(groups.shape[:-1], np.uint64)
        for place in range(groups.shape[-1]):
            word |= groups[..., place].astype(np.uint64) << np.uint64(8 * place)
        shifts = np.arange(pixels, dtype=np.uint64) * np.uint64(bits)
        codes = (word[..., None] >> shifts) & np.uint64((1 << bits) - 1)
        return np.asarray(codes, np.uint16)

    return unpack


def _gige(bits: int) -> Callable[[Bytes], NDArray[np.uint16]]:
    """Make the function that unpacks the GigE Vision packing, two pixels in three bytes.

    The outer bytes have the high eight bits of the pixels, the middle byte the low bits of both, the second
    pixel's in its upper half.
    """
    low = bits - 8

    def unpack(groups: Bytes) -> NDArray[np.uint16]:
        first, middle, second = (groups[..., place].astype(np.uint16) for place in range(3))
        mask = (1 << low) - 1
        codes = np.stack([first << low | middle & mask, second << low | (middle >> 4) & mask], -1)
        return codes.astype(np.uint16)

    return unpack


PACKINGS: dict[str, Packing] = {
    "RAW10": Packing(10, 4, 5, _mipi(10, 4)),
    "RAW12": Packing(12, 2, 3, _mipi(12, 2)),
    "RAW14": Packing(14, 4, 7, _mipi(14, 4)),
    "Mono10p": Packing(10, 4, 5, _stream(10, 4)),
    "Mono12p": Packing(12, 2, 3, _stream(12, 2)),
    "Mono14p": Packing(14, 4, 7, _stream(14, 4)),
    "Mono10Packed": Packing(10, 2, 3, _gige(10)),
    "Mono12Packed": Packing(12, 2, 3, _gige(12)),
}
"""Names of packings that ``--dtype`` accepts in addition to numpy types."""

"""Packed pixels: several to a few bytes, without padding between them.

The MIPI packings keep the high bits of a group in a byte each and gather the low bits
behind them; the GenICam packings ending in ``p`` are one little-endian stream of bits.

References
----------
MIPI Alliance: CSI-2 specification, section on raw data formats (RAW10, RAW12, RAW14);
EMVA: GenICam Pixel Format Naming Convention 2.4, section on packed formats; the older
GigE Vision ``Mono10Packed`` and ``Mono12Packed`` are of the GigE Vision specification 1.2.
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
        Pixels in a group, and its bytes.
    unpack : callable
        Bytes of shape (..., size) to codes of shape (..., pixels), uint16.
    """

    bits: int
    pixels: int
    size: int
    unpack: Callable[[Bytes], NDArray[np.uint16]]

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of `width` pixels: whole groups."""
        return -(-width // self.pixels) * self.size

    def rows(self, content: Bytes, width: int) -> NDArray[np.uint16]:
        """Codes of rows of bytes, (H, row_bytes) to (H, width)."""
        groups = content.reshape(len(content), -1, self.size)
        codes = np.asarray(self.unpack(groups), np.uint16).reshape(len(content), -1)
        return codes[:, :width]


def _mipi(bits: int, pixels: int) -> Callable[[Bytes], NDArray[np.uint16]]:
    """High eight bits of each pixel in a byte, then all low bits, the first pixel's lowest."""
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
    """One little-endian stream of bits, the first pixel in the lowest."""

    def unpack(groups: Bytes) -> NDArray[np.uint16]:
        word = np.zeros(groups.shape[:-1], np.uint64)
        for place in range(groups.shape[-1]):
            word |= groups[..., place].astype(np.uint64) << np.uint64(8 * place)
        shifts = np.arange(pixels, dtype=np.uint64) * np.uint64(bits)
        codes = (word[..., None] >> shifts) & np.uint64((1 << bits) - 1)
        return np.asarray(codes, np.uint16)

    return unpack


def _gige(bits: int) -> Callable[[Bytes], NDArray[np.uint16]]:
    """Two pixels in three bytes: high eight bits, the low bits of both (the second's in the upper half), high eight."""
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
"""Names that ``--dtype`` takes beside numpy's."""

"""A lossless JPEG encoder for tests: one component, the left neighbour as predictor.

ITU-T T.81, annex H.  Every difference class has a Huffman code of five bits.
"""

import struct

import numpy as np

CLASSES = 17


def encode(image: np.ndarray) -> bytes:
    """Encode a 16-bit image of shape (H, W)."""
    height, width = image.shape
    values = image.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << 15
    bits = []
    for difference in ((values - predicted + 32768) % 65536 - 32768).ravel().tolist():
        size = 16 if difference == -32768 else abs(difference).bit_length()
        bits.append(f"{size:05b}")
        if 0 < size < 16:
            bits.append(f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}")
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    scan = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    counts = bytes([0, 0, 0, 0, CLASSES] + [0] * 11)
    return b"".join(
        (
            b"\xff\xd8",
            b"\xff\xc4" + struct.pack(">HB", 19 + CLASSES, 0) + counts + bytes(range(CLASSES)),
            b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, 16, height, width, 1, 0, 0x11, 0),
            b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 0, 0, 1, 0, 0),
            scan,
            b"\xff\xd9",
        )
    )

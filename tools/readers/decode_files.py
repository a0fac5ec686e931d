"""Decode the raw files named, on so many processes, as `rawpy` alone does; print how many pixels.

python tools/readers/decode_files.py 2 FILE…
"""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import rawpy


def decode(path: str) -> int:
    """Decode a raw file, and take a copy of its pixels; how many."""
    with rawpy.imread(path) as raw:
        return int(np.array(raw.raw_image_visible, copy=True).size)


if __name__ == "__main__":
    with ProcessPoolExecutor(int(sys.argv[1]), mp_context=multiprocessing.get_context("spawn")) as pool:
        print(sum(pool.map(decode, sys.argv[2:])))

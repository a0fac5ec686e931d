"""Philox4x32-10: random 32-bit words as a function of a counter and a key, on any device."""

from torch import Tensor

__all__ = ["ROUNDS", "philox"]

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
MASK = 0xFFFFFFFF

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: int) -> Words:
    """Compute four random 32-bit words for each counter.

    A round is (c₀, c₁, c₂, c₃) → (hi(M₁c₂) ⊕ c₁ ⊕ k₀, lo(M₁c₂), hi(M₀c₀) ⊕ c₃ ⊕ k₁, lo(M₀c₀)); after each
    round the Weyl constants are added to the key.

    Parameters
    ----------
    counter : four Tensors of int64
        Counter words 0 … 2³² − 1, of shapes that broadcast together.
    key : int
        Key, 0 … 2⁶⁴ − 1.

    Returns
    -------
    four Tensors of int64
        Random words 0 … 2³² − 1.

    References
    ----------
    Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, SC 2011, section 3.3.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & MASK, key >> 32
    for _ in range(ROUNDS):
        # The signed product wraps to the correct 64 bits; the mask removes the sign extension of the high word.
        even, odd = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (odd >> 32 & MASK) ^ c1 ^ k0, odd & MASK, (even >> 32 & MASK) ^ c3 ^ k1, even & MASK
        k0, k1 = k0 + WEYL[0] & MASK, k1 + WEYL[1] & MASK
    return c0, c1, c2, c3

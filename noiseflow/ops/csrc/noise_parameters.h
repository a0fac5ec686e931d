// A pixel's noise parameters with their gradients, and functions that stay accurate near 0.
#pragma once

#include "simd.h"

// log(1 + x) for x ≥ 0, corrected for the rounding of 1 + x.
INLINE static inline lanes log1p(lanes x) {
    lanes whole_part = 1.0f + x;
    return log(whole_part) - ((whole_part - 1.0f) - x) * inverse(whole_part);
}

// log(x + √(1 + x²)), with √(1 + x²) given; near 0 by Cephes' polynomial; NaN where the root is infinite but log is not.
INLINE static inline lanes asinh(lanes x, lanes root) {
    lanes size = absolute(x), square = x * x, far = log(size + root) + (root - root);
    lanes near = ((2.0122003309e-2f * square - 4.2699340972e-2f) * square + 7.4847586088e-2f) * square - 1.6666288134e-1f;
    near = near * square * size + size;
    lanes value = choose(size < 0.5f, near, far);
    return choose(x < 0.0f, -value, value);
}

// sinh and cosh of x = n·log 2 + r, from the odd and the even part of eʳ: near 0, where n is 0, sinh is the odd part alone.
struct Hyperbolic {
    lanes sinh, cosh;
    INLINE explicit Hyperbolic(lanes x) {
        x = at_least(-88.3762589f, at_most(88.3762589f, x));
        lanes shifted = x * LOG2_E + 12582912.0f, n = shifted - 12582912.0f, r = x - n * 0.693359375f;
        r = r + n * 2.12194440e-4f;
        lanes square = r * r;
        lanes odd = ((square * (1.0f / 5040) + 1.0f / 120) * square + 1.0f / 6) * square * r + r;
        lanes even = ((square * (1.0f / 720) + 1.0f / 24) * square + 0.5f) * square + 1.0f;
        whole power = bits_of(shifted) << 23;
        lanes grown = of_bits(power + (127 << 23)), shrunk = of_bits((127 << 23) - power);
        lanes half = 0.5f * (grown + shrunk), rest = 0.5f * (grown - shrunk);
        sinh = rest * even + half * odd, cosh = half * even + rest * odd;
    }
};

INLINE static inline lanes sinh(lanes x) { return Hyperbolic(x).sinh; }

// Clean signal, β₁ and β₂: variance s², the read noise's share β₂/s², skewness γ and excess kurtosis of the shot noise.
struct NoiseParameters {
    lanes clean, inverse, read, share, electron, root, skew, excess;
    lanes variance;
    whole floored;
    float one, two;
    INLINE NoiseParameters(lanes y, float beta1, float beta2) : clean(y), one(beta1), two(beta2) {
        lanes line = beta1 * y + beta2;
        floored = line < FLOOR * beta2;
        variance = choose(floored, all(FLOOR * beta2), line);
        inverse = ::inverse(variance);
        read = beta2 * inverse;
        share = beta1 * y * inverse;
        share = choose(share < 0.0f, lanes{}, share);
        electron = beta1 * beta1 * inverse;
        root = sqrt(electron);
        skew = share * root, excess = share * electron;
    }
};

// Sums of the gradients of β₁ and β₂.
struct OfBetas {
    lanes one = {}, two = {};
    INLINE void add(const NoiseParameters &l, lanes of_variance, lanes of_read, lanes of_skew, lanes of_excess) {
        lanes of_electron = of_skew * l.share * 0.5f / l.root + of_excess * l.share;
        lanes of_share = choose(l.share > 0.0f, of_skew * l.root + of_excess * l.electron, lanes{});
        of_variance -= l.inverse * (of_read * l.read + of_share * l.share + of_electron * l.electron);
        one += of_share * l.clean * l.inverse + of_electron * 2.0f * l.one * l.inverse + choose(l.floored, lanes{}, of_variance * l.clean);
        two += of_read * l.inverse + of_variance * choose(l.floored, all(FLOOR), all(1.0f));
    }
};

// Call body(place, left, element, plane) for every vector of pixels of some planes; `left` pixels of it are there.
template <class Body> static inline void vectors(long planes, long pixels, long from, long to, Body body) {
    for (long p = 0; p < planes; ++p)
        for (long x = from; x < std::min(to, pixels); x += LANES) body(p, x, pixels - x);
}

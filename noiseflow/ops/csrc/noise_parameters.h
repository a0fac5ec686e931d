// A pixel's noise parameters with their gradients, and functions that stay accurate near 0.
#pragma once

#include "simd.h"

// log(1 + x) for x ≥ 0: what 1 + x rounds off is put back.
static inline lanes log1p(lanes x) {
    lanes whole_part = 1.0f + x;
    return log(whole_part) - ((whole_part - 1.0f) - x) / whole_part;
}

// log(x + √(1 + x²)), with √(1 + x²) given.
static inline lanes asinh(lanes x, lanes root) {
    lanes size = absolute(x), value = log1p(size + size * size / (1.0f + root));
    return x < 0.0f ? -value : value;
}

static inline lanes sinh(lanes x) {
    lanes grown = exp(x), far = 0.5f * (grown - 1.0f / grown), square = x * x;
    lanes near = x + x * square * (1.0f / 6 + square * (1.0f / 120 + square * (1.0f / 5040 + square * (1.0f / 362880))));
    return absolute(x) < 1.0f ? near : far;
}

// Clean signal, β₁ and β₂: variance s², the read noise's share β₂/s², skewness γ and excess kurtosis of the shot noise.
struct NoiseParameters {
    lanes clean, inverse, read, share, electron, root, skew, excess;
    lanes variance;
    whole floored;
    float one, two;
    NoiseParameters(lanes y, float beta1, float beta2) : clean(y), one(beta1), two(beta2) {
        lanes line = beta1 * y + beta2;
        floored = line < FLOOR * beta2;
        variance = floored ? all(FLOOR * beta2) : line;
        inverse = 1.0f / variance;
        read = beta2 * inverse;
        share = beta1 * y * inverse;
        share = share < 0.0f ? lanes{} : share;
        electron = beta1 * beta1 * inverse;
        root = sqrt(electron);
        skew = share * root, excess = share * electron;
    }
};

// Sums of the gradients of β₁ and β₂.
struct OfBetas {
    lanes one = {}, two = {};
    void add(const NoiseParameters &l, lanes of_variance, lanes of_read, lanes of_skew, lanes of_excess) {
        lanes of_electron = of_skew * l.share * 0.5f / l.root + of_excess * l.share;
        lanes of_share = l.share > 0.0f ? of_skew * l.root + of_excess * l.electron : lanes{};
        of_variance -= l.inverse * (of_read * l.read + of_share * l.share + of_electron * l.electron);
        one += of_share * l.clean * l.inverse + of_electron * 2.0f * l.one * l.inverse + (l.floored ? lanes{} : of_variance * l.clean);
        two += of_read * l.inverse + of_variance * (l.floored ? all(FLOOR) : all(1.0f));
    }
};

// Call body(place, left, element, plane) for every vector of pixels of some planes; `left` pixels of it are there.
template <class Body> static inline void vectors(long planes, long pixels, long from, long to, Body body) {
    for (long p = 0; p < planes; ++p)
        for (long x = from; x < std::min(to, pixels); x += LANES) body(p, x, pixels - x);
}

// Noise Flow's affine coupling on a row of pixels, in evaluation and in training.
//
// The compiler's -D sets A, the conditioning planes; N, the transformed planes; and F, the hidden planes.  Pixel x of a row
// is at x; whole blocks of vectors are read and written.
#pragma once

#include "simd.h"

constexpr int C = A + N, O = 2 * N;

// to(o)[x] = start(o)[x] + Σ weight(i, v, u, o) · rows(i, v)[x + u].
// A separate function; otherwise the compiler keeps other values in the registers that the sums need.
template <int IN, int OUT>
[[gnu::noinline]] static void conv_row(const float *const (&rows)[IN][3], long width, const float *weight,
                                       const float *const (&start)[OUT], float *const (&to)[OUT]) {
    in_blocks(width, [&](long at, auto vectors) INLINE {
        constexpr int V = decltype(vectors)::value;
        lanes acc[OUT][V];
        for (int o = 0; o < OUT; ++o)
            for (int k = 0; k < V; ++k) acc[o][k] = load(start[o] + at + k * LANES);
        conv(rows, at, weight, acc);
        for (int o = 0; o < OUT; ++o)
            for (int k = 0; k < V; ++k) store(to[o] + at + k * LANES, acc[o][k]);
    });
}

static inline void pointwise(const lanes (&h)[F], const float *weight, const float *bias, lanes (&out)[F]) {
    for (int o = 0; o < F; ++o) out[o] = all(bias[o]);
    for (int i = 0; i < F; ++i)
        for (int o = 0; o < F; ++o) out[o] += weight[i * F + o] * h[i];
}

// Raw log scales become their tanh in place; the factors e^±s of s = bound · tanh go to `factor`.
static void scale_row(float *const (&raw)[N], float *const (&factor)[N], float bound, bool inverse, long width) {
    const float power = (inverse ? -LOG2_E : LOG2_E) * bound;
    in_blocks(width, [&](long at, auto vectors) INLINE {
        constexpr int V = decltype(vectors)::value;
        lanes s[N * V];
        few<N * V>([&](int i) INLINE { s[i] = load(raw[i / V] + at + i % V * LANES); });
        tanh(s);
        few<N * V>([&](int i) INLINE { store(raw[i / V] + at + i % V * LANES, s[i]); });
        few<N * V>([&](int i) INLINE { s[i] = s[i] * power; });
        exp2(s);
        few<N * V>([&](int i) INLINE { store(factor[i / V] + at + i % V * LANES, s[i]); });
    });
}

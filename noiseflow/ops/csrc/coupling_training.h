// Shared by the forward and the backward pass of Noise Flow's affine coupling in training.
//
// Tensors are (B, planes, H, W), contiguous; weights have PyTorch's layout, (out, in, 3, 3).
#pragma once

#include <cmath>
#include <memory>

#include "coupling.h"

struct Shape {
    long batch, height, width, threads;
    long pixels() const { return height * width; }
    // Kind of a row: 0 first, 1 middle, 2 last.
    int kind(long y) const { return y == 0 ? 0 : y == height - 1 ? 2 : 1; }
};

// Rows of the same planes: around row y of a padded image, and of a buffer from its first pixel.
template <int COUNT> static void around(Rows &image, long y, const float *(&rows)[COUNT][3]) {
    for (int p = 0; p < COUNT; ++p)
        for (int v = 0; v < 3; ++v) rows[p][v] = image.at(p, y + v);
}
template <int COUNT, class Float> static void row_of(Rows &buffer, long y, Float *(&row)[COUNT], int from = 0) {
    for (int p = 0; p < COUNT; ++p) row[p] = buffer.at(from + p, y) + 1;
}

// A row of a tensor, with zeros beyond its end.
static inline lanes from(const float *row, long at, long width) { return at < width ? load(row + at, width - at) : lanes{}; }

// What the forward pass keeps for backward: weights with inputs first, (in, 3, 3, out) and (in, out), and the norms.
struct Folded {
    float w1[A * 9 * F], scale1[F], shift1[F];
    float w2[F * F], scale2[F];
    // The second convolution with the norm after it.
    float whole2[F * F], bias2[F];
    // The last convolution times exp(3 · logs): for the hidden planes, for the border channel (3, 3, O), and its bias.
    float w3[F * 9 * O], edge[9 * O], b3[O];
};

// Hidden values of the first layer: n1 = c1 · scale + shift, before the ReLU.
static inline void first_norm(const float *c1, long pixels, long at, long left, const float *scale, const float *shift,
                              lanes (&n1)[F]) {
    for (int f = 0; f < F; ++f) n1[f] = load(c1 + f * pixels + at, left) * scale[f] + shift[f];
}

static inline void through_relu(const lanes (&in)[F], lanes (&out)[F]) {
    for (int f = 0; f < F; ++f) out[f] = relu(in[f]);
}

// ReLU of the second norm, written into a padded image.
static void second_hidden(const Shape &s, const float *c1, const Folded &folded, Rows &h2) {
    for (long y = 0; y < s.height; ++y)
        for (long at = 0; at < s.width; at += LANES) {
            lanes n1[F], h1[F], n2[F];
            long left = s.width - at;
            first_norm(c1, s.pixels(), y * s.width + at, left, folded.scale1, folded.shift1, n1);
            through_relu(n1, h1);
            pointwise(h1, folded.whole2, folded.bias2, n2);
            for (int f = 0; f < F; ++f) store(h2.at(f, y + 1) + 1 + at, first(relu(n2[f]), left));
        }
}

// Whether a tap of a 3×3 window around row y of that kind (0 first, 1 middle, 2 last) and column x is beyond the border.
static inline bool beyond(int v, int u, int kind, long x, long height, long width) {
    bool row = (v == 0 && kind == 0) || (v == 2 && (kind == 2 || height == 1));
    return row || (u == 0 && x == 0) || (u == 2 && x == width - 1);
}

// Two hidden layers of a conditional net: tanh(w2 · tanh(w1 * values + ws · signal + b1) + b2).
//
// The compiler's -D sets V, the planes of values, convolved 3×3 (none if 0); S, the planes of signal, 1×1; and F, the
// hidden planes, in groups of 4.  Each element of the batch has its own weights, which include FiLM's scale and shift:
// w1 (B, F/4, V, 3, 3, 4), ws (B, F/4, S, 4), w2 (B, F/4, F, 4), b1 and b2 (B, F).  Tensors are (B, planes, H, W).

// Without a convolution, rows are never read at an offset.
#if !V
#define LONG_VECTORS
#endif
#include "simd.h"

constexpr int G = F / 4;
constexpr long BAND = 64;

struct Shape {
    long height, width;
    long pixels() const { return height * width; }
};

static void pad_rows(const float *planes, const Shape &s, long from, long to, Rows &padded) {
    for (int p = 0; p < V; ++p)
        for (long y = std::max(from - 1, 0L); y < std::min(to + 1, s.height); ++y)
            std::memcpy(padded.at(p, y - from + 1) + 1, planes + p * s.pixels() + y * s.width, s.width * sizeof(float));
}

// acc(o) += Σ weight(i, o) · in(i) for two vectors of pixels.
template <int I> static inline void pointwise(const float (&in)[I][2 * LANES], const float *weight, lanes (&acc)[4][2]) {
#pragma GCC unroll 4
    for (int i = 0; i < I; ++i)
#pragma GCC unroll 4
        for (int o = 0; o < 4; ++o) {
            acc[o][0] += weight[i * 4 + o] * load(in[i]);
            acc[o][1] += weight[i * 4 + o] * load(in[i] + LANES);
        }
}

static inline void bias_of(const float *bias, lanes (&acc)[4][2]) {
    for (int o = 0; o < 4; ++o) acc[o][0] = acc[o][1] = all(bias[o]);
}

// The second hidden layer; also the first if `first_layer` is given.
KERNEL(forward, const float *values, const float *signal, const float *w1, const float *ws, const float *b1,
             const float *w2, const float *b2, float *first_layer, float *second_layer, long batch, long height,
             long width, long threads) {
    Shape s{height, width};
    long bands = (height + BAND - 1) / BAND;
    each(batch * bands, threads, [&](long unit) {
        long element = unit / bands, from = unit % bands * BAND, to = std::min(from + BAND, height);
        Rows padded(V, to - from + 2, width);
        pad_rows(values + element * V * s.pixels(), s, from, to, padded);
        const float *lit = signal + element * S * s.pixels();
        for (long y = from; y < to; ++y) {
#if V
            const float *rows[V][3];
            for (int p = 0; p < V; ++p)
                for (int v = 0; v < 3; ++v) rows[p][v] = padded.at(p, y - from + v);
#endif
            for (long at = 0; at < width; at += 2 * LANES) {
                float light[S][2 * LANES], one[F][2 * LANES];
                auto put = [&](float *planes, int plane, int half, lanes value) {
                    long left = width - at - half * LANES;
                    long place = (element * F + plane) * s.pixels() + y * width + at + half * LANES;
                    if (left > 0) store(planes + place, value, left);
                };
                for (int p = 0; p < S; ++p)
                    for (int half = 0; half < 2; ++half) {
                        long left = width - at - half * LANES;
                        const float *here = lit + p * s.pixels() + y * width + at + half * LANES;
                        store(light[p] + half * LANES, left > 0 ? load(here, left) : lanes{});
                    }
                for (int g = 0; g < G; ++g) {
                    lanes acc[4][2];
                    bias_of(b1 + element * F + g * 4, acc);
#if V
                    conv<V, 4>(rows, at, w1 + (element * G + g) * V * 36, acc);
#endif
                    pointwise<S>(light, ws + (element * G + g) * S * 4, acc);
                    for (int o = 0; o < 4; ++o)
                        for (int half = 0; half < 2; ++half) {
                            lanes value = tanh(acc[o][half]);
                            store(one[g * 4 + o] + half * LANES, value);
                            if (first_layer) put(first_layer, g * 4 + o, half, value);
                        }
                }
                for (int g = 0; g < G; ++g) {
                    lanes acc[4][2];
                    bias_of(b2 + element * F + g * 4, acc);
                    pointwise<F>(one, w2 + (element * G + g) * F * 4, acc);
                    for (int o = 0; o < 4; ++o)
                        for (int half = 0; half < 2; ++half) put(second_layer, g * 4 + o, half, tanh(acc[o][half]));
                }
            }
        }
    });
}

// Gradients of the values, and of each element's own weights: w1 (B, F/4, V, 3, 3, 4), ws (B, F, S), w2 (B, F, F),
// biases (B, F).  `mirrored` is w1 with mirrored taps, (B, F, 3, 3, V), `plain2` is w2 as (B, F out, F in).
KERNEL(backward, const float *of_second, const float *values, const float *signal, const float *first_layer,
              const float *second_layer, const float *mirrored, const float *plain2, float *of_values, float *of_w1,
              float *of_ws, float *of_b1, float *of_w2, float *of_b2, long batch, long height, long width,
              long threads) {
    Shape s{height, width};
    const long pixels = s.pixels();
    each(batch, threads, [&](long element) {
        std::vector<float> of_sum1(F * pixels), sums_s(F * S * LANES), sums_2(F * F * LANES);
        std::vector<float> sums_b1(F * LANES), sums_b2(F * LANES);
        const float *weight = plain2 + element * F * F;
        for (long at = 0; at < pixels; at += BLOCK) {
            float one[F][BLOCK], two[F][BLOCK], of_two[F][BLOCK], of_one[F][BLOCK], light[S][BLOCK];
            take(first_layer + element * F * pixels, pixels, at, one);
            take(second_layer + element * F * pixels, pixels, at, two);
            take(of_second + element * F * pixels, pixels, at, of_two);
            take(signal + element * S * pixels, pixels, at, light);
            for (int f = 0; f < F; ++f)
                for (long x = 0; x < BLOCK; x += LANES) {
                    lanes t = load(two[f] + x);
                    store(of_two[f] + x, load(of_two[f] + x) * (1.0f - t * t));
                }
            for (auto &plane : of_one) std::fill(plane, plane + BLOCK, 0.0f);
            linear_back(of_two, weight, of_one);
            for (int f = 0; f < F; ++f)
                for (long x = 0; x < BLOCK; x += LANES) {
                    lanes t = load(one[f] + x);
                    store(of_one[f] + x, load(of_one[f] + x) * (1.0f - t * t));
                }
            give(of_one, pixels, at, of_sum1.data());
            outer<F, F>(of_two, one, sums_2.data());
            outer<F, S>(of_one, light, sums_s.data());
            add_up(of_one, sums_b1.data());
            add_up(of_two, sums_b2.data());
        }
        collect(sums_b1, of_b1 + element * F);
        collect(sums_b2, of_b2 + element * F);
        collect(sums_s, of_ws + element * F * S);
        collect(sums_2, of_w2 + element * F * F);
#if V
        Rows padded(V, height + 2, width), of_out(F, height + 2, width);
        pad_rows(values + element * V * pixels, s, 0, height, padded);
        for (int f = 0; f < F; ++f)
            for (long y = 0; y < height; ++y)
                std::memcpy(of_out.at(f, y + 1) + 1, of_sum1.data() + f * pixels + y * width, width * sizeof(float));
        for (int g = 0; g < G; ++g)
            conv_of_weight<V, 4>(padded, of_out, height, width, of_w1 + (element * G + g) * V * 36, g * 4);
        for (long y = 0; of_values && y < height; ++y) {
            const float *rows[F][3];
            for (int f = 0; f < F; ++f)
                for (int v = 0; v < 3; ++v) rows[f][v] = of_out.at(f, y + v);
            for (long at = 0; at < width; at += 2 * LANES) {
                lanes acc[V][2] = {};
                conv<F, V>(rows, at, mirrored + element * F * 9 * V, acc);
                for (int p = 0; p < V; ++p)
                    for (int half = 0; half < 2; ++half) {
                        long left = width - at - half * LANES;
                        long place = (element * V + p) * pixels + y * width + at + half * LANES;
                        if (left > 0) store(of_values + place, acc[p][half], left);
                    }
            }
        }
#endif
    });
}

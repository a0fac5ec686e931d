// Shared by all kernels: vectors of floats, rows of planes, threads and the declaration of a kernel.
//
// Only whole vectors are used, the last one of a row padded with zeros.  Every pixel goes through the same instructions,
// so a value depends neither on where a tile was cut nor on the number of threads.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "vectors.h"

// Declare a function for Python, which compares its parameters, name by name, with its own declaration.  PART and other
// shared constants come from Python too, by the compiler's -D.
#define KERNEL(name, ...)                                                                                              \
    extern "C" const char *name##_parameters() { return #__VA_ARGS__; }                                                \
    extern "C" void name(__VA_ARGS__)

// The first `count` floats, followed by zeros.
static inline lanes load(const float *from, long count) {
    if (count >= LANES) return load(from);
    lanes value = {};
    std::memcpy(&value, from, count * sizeof(float));
    return value;
}

static inline void store(float *to, lanes value, long count) {
    if (count >= LANES) store(to, value);
    else std::memcpy(to, &value, count * sizeof(float));
}

// Zeros from lane `count` on.
static inline lanes first(lanes value, long count) {
    if (count >= LANES) return value;
    lanes kept = {};
    std::memcpy(&kept, &value, count * sizeof(float));
    return kept;
}

static inline float sum(lanes value) {
    float total[LANES];
    store(total, value);
    for (long half = LANES / 2; half; half /= 2)
        for (long i = 0; i < half; ++i) total[i] += total[i + half];
    return total[0];
}

// Sum of many vectors, in double precision.
class Total {
    doubles values = {};

  public:
    INLINE void add(lanes value) { add_to(values, value); }
    double sum() const {
        double each[LANES], total = 0;
        std::memcpy(each, &values, sizeof each);
        for (double value : each) total += value;
        return total;
    }
};

// NaN stays NaN.
static inline lanes relu(lanes x) { return at_least(0.0f, x); }

// Call body(i) for each of several vectors.
template <int VECTORS, class Body> [[gnu::always_inline]] static inline void few(Body body) {
#pragma GCC unroll 16
    for (int i = 0; i < VECTORS; ++i) body(i);
}

// 2^x of several vectors, step by step together, because the steps of one depend on each other.  2^n · p(r), |r| ≤ ½, with the
// polynomial of least relative error, 2e-9.
template <int VECTORS> static inline void exp2(lanes (&x)[VECTORS]) {
    constexpr float MAGIC = 12582912.0f;
    lanes shifted[VECTORS], p[VECTORS];
    few<VECTORS>([&](int i) INLINE { x[i] = at_least(-126.0f, at_most(127.0f, x[i])); });
    few<VECTORS>([&](int i) INLINE { shifted[i] = x[i] + MAGIC; });
    few<VECTORS>([&](int i) INLINE { x[i] = x[i] - (shifted[i] - MAGIC); });
    few<VECTORS>([&](int i) INLINE { p[i] = x[i] * 1.534581216e-4f + 1.339993121e-3f; });
    few<VECTORS>([&](int i) INLINE { p[i] = p[i] * x[i] + 9.618488957e-3f; });
    few<VECTORS>([&](int i) INLINE { p[i] = p[i] * x[i] + 5.550328777e-2f; });
    few<VECTORS>([&](int i) INLINE { p[i] = p[i] * x[i] + 2.402264689e-1f; });
    few<VECTORS>([&](int i) INLINE { p[i] = p[i] * x[i] + 6.931472057e-1f; });
    few<VECTORS>([&](int i) INLINE { p[i] = p[i] * x[i] + 1.0f; });
    few<VECTORS>([&](int i) INLINE {
        x[i] = p[i] * of_bits((bits_of(shifted[i]) << 23) + (127 << 23));
    });
}

constexpr float LOG2_E = 1.44269504f;

// tanh of several vectors.
template <int VECTORS> static inline void tanh(lanes (&x)[VECTORS]) {
    few<VECTORS>([&](int i) INLINE { x[i] = x[i] * (2 * LOG2_E); });
    exp2(x);
    few<VECTORS>([&](int i) INLINE { x[i] = 1.0f - 2.0f * inverse(x[i] + 1.0f); });
}

// exp within 2 ulp: 2^n · p(r), |r| ≤ ½ log 2; Cephes' polynomial.
INLINE static inline lanes exp(lanes x) {
    x = choose(x > 88.3762589f, all(88.3762589f), x);
    x = choose(x < -87.3365402f, all(-87.3365402f), x);
    const lanes magic = all(12582912.0f);
    lanes shifted = x * 1.44269504f + magic;
    lanes n = shifted - magic;
    lanes r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    lanes p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * of_bits((bits_of(shifted) << 23) + (127 << 23));
}

INLINE static inline lanes tanh(lanes x) { return 1.0f - 2.0f * inverse(exp(2.0f * x) + 1.0f); }

// log of positive numbers, within 2 ulp: from the exponent, and Cephes' polynomial of the mantissa in √½ … √2.
INLINE static inline lanes log(lanes x) {
    whole bits = bits_of(x);
    whole power = (bits - 0x3f3504f3) >> 23;
    bits -= power << 23;
    lanes m = of_bits(bits) - 1.0f;
    lanes p = all(7.0376836292e-2f);
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    lanes n = to_float(power), square = m * m;
    lanes value = m * square * p + n * -2.12194440e-4f - 0.5f * square + m + n * 0.693359375f;
    return choose(x == x, value, x);
}

INLINE static inline lanes absolute(lanes x) { return choose(x < 0.0f, -x, x); }

// Call body(i) for i < count in parallel.  With OpenMP, PyTorch's own threads are used: they stay busy for a while after
// their work, and other threads would wait for them.
template <class Body> static void each(long count, long threads, Body body) {
    threads = std::min(threads, count);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long i = 0; i < count; ++i) body(i);
}

// Planes whose rows have room for a border of one pixel and for whole vectors; pixel x of a row is at x + 1.
class Rows {
    std::vector<float> values;
    long rows;
    float *start;

  public:
    const long pitch;
    Rows(long planes, long rows, long width)
        : rows(rows), pitch((width + 2 * LANES - 1) / (2 * LANES) * (2 * LANES) + LANES) {
        values.resize(planes * rows * pitch + 4 * LANES);
        // A whole vector starts at pixel 0.
        start = values.data() + 2 * LANES - 1 - reinterpret_cast<std::uintptr_t>(values.data()) / sizeof(float) % LANES;
    }
    Rows(const Rows &) = delete;
    Rows(Rows &&) = default;
    float *at(long plane, long row) { return start + (plane * rows + row) * pitch; }
    const float *at(long plane, long row) const { return start + (plane * rows + row) * pitch; }
};

// acc(o) += Σ weight(i, v, u, o) · row(i, v)[x + u] for several vectors of pixels from x on.
template <int IN, int OUT, int VECTORS>
static inline void conv(const float *const (&row)[IN][3], long x, const float *weight, lanes (&acc)[OUT][VECTORS]) {
#pragma GCC unroll 16
    for (int i = 0; i < IN; ++i)
#pragma GCC unroll 3
        for (int v = 0; v < 3; ++v)
#pragma GCC unroll 3
            for (int u = 0; u < 3; ++u) {
                lanes w[OUT];
#pragma GCC unroll 16
                for (int o = 0; o < OUT; ++o) w[o] = all(weight[((i * 3 + v) * 3 + u) * OUT + o]);
#pragma GCC unroll 4
                for (int k = 0; k < VECTORS; ++k) {
                    lanes value = load(row[i][v] + x + u + k * LANES);
#pragma GCC unroll 16
                    for (int o = 0; o < OUT; ++o) acc[o][k] += w[o] * value;
                }
            }
}

// Call block(at, vectors) for the blocks of a row, `vectors` a constant of WIDE or 2 vectors.
template <class Block> [[gnu::always_inline]] static inline void in_blocks(long width, Block block) {
    long at = 0;
    if (WIDE > 2)
        for (; width - at > 2 * LANES; at += WIDE * LANES) block(at, std::integral_constant<int, WIDE>());
    for (; at < width; at += 2 * LANES) block(at, std::integral_constant<int, 2>());
}

// sums(i, v, u, o) = Σ input(i)[y + v][x + u] · of_out(from + o)[y + 1][x + 1] over a padded image of height × width.
template <int IN, int OUT>
[[gnu::noinline]] static void conv_of_weight(Rows &input, Rows &of_out, long height, long width, float *sums, int from = 0) {
    for (int i = 0; i < IN; ++i)
        for (int v = 0; v < 3; ++v) {
            lanes acc[3][OUT] = {};
            for (long y = 0; y < height; ++y)
                for (long x = 0; x < width; x += LANES) {
                    lanes left = load(input.at(i, y + v) + x), middle = load(input.at(i, y + v) + x + 1),
                          right = load(input.at(i, y + v) + x + 2);
#pragma GCC unroll 16
                    for (int o = 0; o < OUT; ++o) {
                        lanes of = load(of_out.at(from + o, y + 1) + x + 1);
                        acc[0][o] += left * of;
                        acc[1][o] += middle * of;
                        acc[2][o] += right * of;
                    }
                }
            for (int u = 0; u < 3; ++u)
                for (int o = 0; o < OUT; ++o) sums[((i * 3 + v) * 3 + u) * OUT + o] = sum(acc[u][o]);
        }
}

// Number of pixels, of all planes, that pointwise operations process together.
constexpr long BLOCK = 64;

// sums(m, n), one vector each, += Σ a(m) · b(n) over a block of pixels.
template <int LEFT, int RIGHT> static void outer(const float (&a)[LEFT][BLOCK], const float (&b)[RIGHT][BLOCK], float *sums) {
    constexpr int TILE = RIGHT % 2 ? 1 : 2;
    for (int m = 0; m < LEFT; m += 4)
        for (int n = 0; n < RIGHT; n += TILE) {
            lanes acc[4][TILE];
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < TILE; ++j) acc[i][j] = load(sums + ((m + i) * RIGHT + n + j) * LANES);
            for (long x = 0; x < BLOCK; x += LANES)
                for (int i = 0; i < 4; ++i)
                    for (int j = 0; j < TILE; ++j) acc[i][j] += load(a[m + i] + x) * load(b[n + j] + x);
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < TILE; ++j) store(sums + ((m + i) * RIGHT + n + j) * LANES, acc[i][j]);
        }
}

template <int RIGHT> static void take(const float *planes, long pixels, long at, float (&to)[RIGHT][BLOCK]) {
    for (int p = 0; p < RIGHT; ++p)
        for (long x = 0; x < BLOCK; x += LANES) {
            long left = pixels - at - x;
            store(to[p] + x, left > 0 ? load(planes + p * pixels + at + x, left) : lanes{});
        }
}

// out(r) = Σ weight(r, f) · h(f) + bias(r).
template <int OUT, int IN>
static void linear(const float (&h)[IN][BLOCK], const float *weight, const float *bias, float (&out)[OUT][BLOCK]) {
    for (int r = 0; r < OUT; ++r)
        for (long x = 0; x < BLOCK; x += 4 * LANES) {
            lanes acc[4];
            for (auto &each : acc) each = all(bias[r]);
#pragma GCC unroll 16
            for (int f = 0; f < IN; ++f)
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v) acc[v] += weight[r * IN + f] * load(h[f] + x + v * LANES);
            for (int v = 0; v < 4; ++v) store(out[r] + x + v * LANES, acc[v]);
        }
}

// of_h(f) += Σ weight(r, f) · of_out(r); IN in groups of 4.
template <int OUT, int IN>
static void linear_back(const float (&of_out)[OUT][BLOCK], const float *weight, float (&of_h)[IN][BLOCK]) {
    for (int f = 0; f < IN; f += 4)
        for (long x = 0; x < BLOCK; x += 2 * LANES) {
            lanes acc[4][2];
            for (int j = 0; j < 4; ++j)
                for (int half = 0; half < 2; ++half) acc[j][half] = load(of_h[f + j] + x + half * LANES);
            for (int r = 0; r < OUT; ++r) {
                lanes left = load(of_out[r] + x), right = load(of_out[r] + x + LANES);
                for (int j = 0; j < 4; ++j) {
                    acc[j][0] += weight[r * IN + f + j] * left;
                    acc[j][1] += weight[r * IN + f + j] * right;
                }
            }
            for (int j = 0; j < 4; ++j)
                for (int half = 0; half < 2; ++half) store(of_h[f + j] + x + half * LANES, acc[j][half]);
        }
}

// sums(r), one vector each, += Σ of(r).
template <int OUT> static void add_up(const float (&of)[OUT][BLOCK], float *sums) {
    for (int r = 0; r < OUT; ++r) {
        lanes total = load(sums + r * LANES);
        for (long x = 0; x < BLOCK; x += LANES) total += load(of[r] + x);
        store(sums + r * LANES, total);
    }
}

template <int RIGHT> static void give(const float (&from)[RIGHT][BLOCK], long pixels, long at, float *planes) {
    for (int p = 0; p < RIGHT; ++p)
        for (long x = 0; x < BLOCK && at + x < pixels; x += LANES)
            store(planes + p * pixels + at + x, load(from[p] + x), pixels - at - x);
}

static inline void collect(const std::vector<float> &sums, float *to) {
    for (std::size_t i = 0; i < sums.size() / LANES; ++i) to[i] = sum(load(sums.data() + i * LANES));
}

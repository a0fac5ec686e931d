// Random numbers as a function of seed, stream, frame, plane, row and column: Philox 4×32 with ten rounds.  Normal numbers
// use the method of Box and Muller, Poisson counts inversion and transformed rejection.
//
// A counter gives four words, for one, two or four columns of a row.  Vectors hold the same word of LANES counters.

#define LONG_VECTORS
#include "simd.h"

#include <cmath>

typedef uint32_t words __attribute__((vector_size(LANES * 4)));

// Number of counters that are processed together, because the rounds of one depend on each other.
constexpr int VECTORS = 2;
constexpr long TOGETHER = VECTORS * LANES;

// High and low word of a product of 32-bit words.
static inline void multiply(words x, uint32_t by, words &high, words &low) {
#if defined(__AVX512F__)
    __m512i value = (__m512i)x, factor = _mm512_set1_epi64(by);
    __m512i even = _mm512_mul_epu32(value, factor), odd = _mm512_mul_epu32(_mm512_srli_epi64(value, 32), factor);
    high = (words)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    low = (words)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
#elif defined(__AVX2__)
    __m256i value = (__m256i)x, factor = _mm256_set1_epi64x(by);
    __m256i even = _mm256_mul_epu32(value, factor), odd = _mm256_mul_epu32(_mm256_srli_epi64(value, 32), factor);
    high = (words)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    low = (words)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
#else
    for (long i = 0; i < LANES; ++i) {
        uint64_t product = (uint64_t)x[i] * by;
        high[i] = product >> 32, low[i] = (uint32_t)product;
    }
#endif
}

static inline void multiply(uint32_t x, uint32_t by, uint32_t &high, uint32_t &low) {
    uint64_t product = (uint64_t)x * by;
    high = product >> 32, low = (uint32_t)product;
}

static inline words every(uint32_t value) { return value - words{}; }

template <class Word> struct Counter {
    Word c0, c1, c2, c3;
};

struct Key {
    uint32_t k0, k1;
};

// Ten rounds of (c₀, c₁, c₂, c₃) → (hi(M₁c₂) ⊕ c₁ ⊕ k₀, lo(M₁c₂), hi(M₀c₀) ⊕ c₃ ⊕ k₁, lo(M₀c₀)), for several counters.
template <class Word, int COUNT> static inline void philox(Counter<Word> (&counters)[COUNT], Key key) {
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
        few<COUNT>([&](int i) INLINE {
            Counter<Word> &c = counters[i];
            Word even, even_low, odd, odd_low;
            multiply(c.c0, 0xD2511F53u, even, even_low);
            multiply(c.c2, 0xCD9E8D57u, odd, odd_low);
            c = {odd ^ c.c1 ^ key.k0, odd_low, even ^ c.c3 ^ key.k1, even_low};
        });
        key.k0 += 0x9E3779B9u, key.k1 += 0xBB67AE85u;
    }
}

// Position of a draw: its `key` and `stream`, its first row `top` and its first column `left`.
struct Draw {
    const double *frames;
    Key key;
    long stream, top, left, planes, height, width, parts, threads;
};

// Position of a counter: a row of a piece of work, and a group of columns in it.
struct Place {
    long row, group;
};

// Call make(counters, numbers) for all counters of a draw, TOGETHER at a time; it makes COLUMNS numbers for each, which go
// to their place in z.  Vectors extend beyond the ends of rows.
template <int COLUMNS, class Number, class Make> static void each_counter(const Draw &draw, Number *z, Make make) {
    // Groups in a row, and rows of a plane in one piece of work.
    long first = draw.left / COLUMNS, groups = (draw.left + draw.width - 1) / COLUMNS - first + 1;
    long rows_of_piece = std::max(1l, PART / draw.width), pieces = (draw.height + rows_of_piece - 1) / rows_of_piece;
    words count;
    for (long lane = 0; lane < LANES; ++lane) count[lane] = (uint32_t)lane;
    each(draw.parts * pieces, draw.threads, [&](long piece) {
        long part = piece / pieces, from = piece % pieces * rows_of_piece, rows = std::min(draw.height - from, rows_of_piece);
        words plane = every((uint32_t)(part % draw.planes + (draw.stream << 8)));
        words frame = every((uint32_t)draw.frames[part / draw.planes]);
        Number *to = z + (part * draw.height + from) * draw.width;
        long row = 0, group = 0;
        while (row < rows) {
            Counter<words> counters[VECTORS];
            Place place[TOGETHER];
            bool in_one_row = group + TOGETHER <= groups;
            place[0] = {row, group};
            for (int i = 0; i < VECTORS; ++i) {
                counters[i] = {count + (uint32_t)(first + group), every((uint32_t)(draw.top + from + row)), plane, frame};
                if (in_one_row) group += LANES;
                else
                    for (long lane = 0; lane < LANES; ++lane) {
                        place[i * LANES + lane] = {row, group};
                        counters[i].c0[lane] = (uint32_t)(first + group);
                        counters[i].c1[lane] = (uint32_t)(draw.top + from + row);
                        if (++group == groups) group = 0, ++row;
                    }
            }
            if (group == groups) group = 0, ++row;
            // Write the numbers of a place, except those outside the row.
            auto at = [&](Place here) { return (first + here.group) * COLUMNS - draw.left; };
            auto give = [&](Place here, const Number *numbers, long columns) {
                long low = std::max(-at(here), 0l), high = std::min(draw.width - at(here), columns);
                std::memcpy(to + here.row * draw.width + at(here) + low, numbers + low, (high - low) * sizeof(Number));
            };
            Number numbers[TOGETHER][COLUMNS];
            if (in_one_row) {
                make(counters, numbers, [&](long i) { return to - z + place[0].row * draw.width + at(place[0]) + i; });
                give(place[0], numbers[0], TOGETHER * COLUMNS);
            } else {
                long used = 0;
                while (used < TOGETHER && place[used].row < rows) ++used;
                // Places beyond the piece repeat its last one.
                make(counters, numbers, [&](long i) {
                    Place here = place[std::min(i, used - 1)];
                    return to - z + here.row * draw.width + at(here);
                });
                for (long i = 0; i < used; ++i) give(place[i], numbers[i], COLUMNS);
            }
        }
    });
}

// Nearest float of a word.  Signed numbers convert in one instruction, unsigned ones need two halves.
static inline lanes to_float(words x) {
    lanes high = __builtin_convertvector((whole)(x >> 16), lanes), low = __builtin_convertvector((whole)(x & 0xffffu), lanes);
    return high * 65536.0f + low;
}

// Sine and cosine of 0 ≤ x ≤ 2π, within 2 ulp: reduce by quarter turns, then use Cephes' polynomials.
static inline void turn(lanes x, lanes &sine, lanes &cosine) {
    constexpr float MAGIC = 12582912.0f;
    lanes shifted = x * 0.636619772f + MAGIC, n = shifted - MAGIC;
    lanes r = x - n * 1.5703125f;
    r = r - n * 4.837512969970703125e-4f;
    r = r - n * 7.54978995489188216e-8f;
    lanes square = r * r;
    lanes s = ((square * -1.9515295891e-4f + 8.3321608736e-3f) * square - 1.6666654611e-1f) * square * r + r;
    lanes c = ((square * 2.443315711809948e-5f - 1.388731625493765e-3f) * square + 4.166664568298827e-2f) * square * square -
              0.5f * square + 1.0f;
    whole quarter;
    std::memcpy(&quarter, &shifted, sizeof quarter);
    whole odd = -(quarter & 1);
    lanes first = odd ? c : s, second = odd ? s : c;
    sine = (quarter & 2) != 0 ? -first : first;
    cosine = ((quarter + 1) & 2) != 0 ? -second : second;
}

static inline void box_muller(words one, words two, lanes &cosine, lanes &sine) {
    constexpr float WORD = 2.3283064365386963e-10f, TURN = 1.4629180792671596e-9f;
    lanes radius = sqrt(at_least(0.0f, -2.0f * log((to_float(one) + 0.5f) * WORD)));
    turn(to_float(two) * TURN, sine, cosine);
    sine *= radius, cosine *= radius;
}

// A number in the open interval (0, 1) with 52 bits.
static inline double between(uint32_t high, uint32_t low) {
    return ((double)((uint64_t)high << 20 | low >> 12) + 0.5) * 0x1p-52;
}

// Smallest k with P(count ≤ k) ≥ u.  At a rate of 10, terms beyond about 50 are below the last bit of 1.
static double inverted(double rate, double u) {
    double term = std::exp(-rate), below = term, k = 0;
    while (u > below && k < 200) {
        k += 1;
        term = term * rate / k;
        below += term;
    }
    return k;
}

// One attempt of PTRS (Hörmann 1993); returns whether the count is accepted.
static bool ptrs(double rate, double u, double v, double &k) {
    double b = 0.931 + 2.53 * std::sqrt(rate), a = -0.059 + 0.02483 * b;
    u -= 0.5;
    double us = 0.5 - std::fabs(u);
    k = std::floor((2 * a / us + b) * u + rate + 0.43);
    if (k < 0) return false;
    if (us >= 0.07 && v <= 0.9277 - 3.6224 / (b - 2)) return true;
    if (us < 0.013 && v > us) return false;
    int sign;
    double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    return std::log(v * inverse_alpha / (a / (us * us) + b)) <= k * std::log(rate) - rate - lgamma_r(k + 1, &sign);
}

// Count of one counter; later attempts use new words.
static double poisson(double rate, Counter<uint32_t> counter, Key key, double u, double v) {
    if (!std::isfinite(rate)) return rate;
    if (rate < SMALL_RATE) return inverted(rate, u);
    double k;
    for (uint32_t attempt = 1; !ptrs(rate, u, v, k); ++attempt) {
        Counter<uint32_t> next[1] = {{counter.c0, counter.c1, counter.c2 + (attempt << 16), counter.c3}};
        philox(next, key);
        u = between(next[0].c0, next[0].c1), v = between(next[0].c2, next[0].c3);
    }
    return k;
}

KERNEL(normals, const double *frames, float *z, long key_low, long key_high, long stream, long top, long left, long planes,
       long height, long width, long parts, long threads) {
    Key key = {(uint32_t)key_low, (uint32_t)key_high};
    Draw draw = {frames, key, stream, top, left, planes, height, width, parts, threads};
    each_counter<4>(draw, z, [&](Counter<words> (&counters)[VECTORS], float (&numbers)[TOGETHER][4], auto) {
        philox(counters, key);
        few<VECTORS>([&](int i) INLINE {
            lanes drawn[4];
            box_muller(counters[i].c0, counters[i].c1, drawn[0], drawn[1]);
            box_muller(counters[i].c2, counters[i].c3, drawn[2], drawn[3]);
            for (long lane = 0; lane < LANES; ++lane)
                for (int j = 0; j < 4; ++j) numbers[i * LANES + lane][j] = drawn[j][lane];
        });
    });
}

KERNEL(uniforms, const double *frames, double *z, long key_low, long key_high, long stream, long top, long left, long planes,
       long height, long width, long parts, long threads) {
    Key key = {(uint32_t)key_low, (uint32_t)key_high};
    Draw draw = {frames, key, stream, top, left, planes, height, width, parts, threads};
    each_counter<2>(draw, z, [&](Counter<words> (&counters)[VECTORS], double (&numbers)[TOGETHER][2], auto) {
        philox(counters, key);
        for (long i = 0; i < TOGETHER; ++i) {
            const Counter<words> &c = counters[i / LANES];
            long lane = i % LANES;
            numbers[i][0] = between(c.c0[lane], c.c1[lane]), numbers[i][1] = between(c.c2[lane], c.c3[lane]);
        }
    });
}

KERNEL(counts, const double *rate, const double *frames, double *z, long key_low, long key_high, long stream, long top, long left,
       long planes, long height, long width, long parts, long threads) {
    Key key = {(uint32_t)key_low, (uint32_t)key_high};
    Draw draw = {frames, key, stream, top, left, planes, height, width, parts, threads};
    each_counter<1>(draw, z, [&](Counter<words> (&counters)[VECTORS], double (&numbers)[TOGETHER][1], auto place) {
        Counter<words> drawn[VECTORS] = {counters[0], counters[1]};
        philox(drawn, key);
        for (long i = 0; i < TOGETHER; ++i) {
            const Counter<words> &c = counters[i / LANES], &d = drawn[i / LANES];
            long lane = i % LANES;
            numbers[i][0] = poisson(rate[place(i)], {c.c0[lane], c.c1[lane], c.c2[lane], c.c3[lane]}, key,
                                    between(d.c0[lane], d.c1[lane]), between(d.c2[lane], d.c3[lane]));
        }
    });
}

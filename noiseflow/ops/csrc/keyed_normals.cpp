// Standard normal numbers that are a function of seed, stream, frame, plane, row and column: Philox 4×32 with ten rounds,
// and Box and Muller.
//
// A counter makes four words, for four columns of a row.  Vectors hold LANES counters, the same word of each together.

#define LONG_VECTORS
#include "simd.h"

typedef uint32_t words __attribute__((vector_size(LANES * 4)));

// Counters that are worked on together: the rounds of one wait for one another.
constexpr int TOGETHER = 2;

// High and low words of a product of 32-bit words.
static inline void multiply(words x, uint32_t by, words &high, words &low) {
#if defined(LONG_VECTORS) && defined(__AVX512F__)
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

static inline words every(uint32_t value) { return value - words{}; }

struct Counter {
    words c0, c1, c2, c3;
};

// Ten rounds of (c₀, c₁, c₂, c₃) → (hi(M₁c₂) ⊕ c₁ ⊕ k₀, lo(M₁c₂), hi(M₀c₀) ⊕ c₃ ⊕ k₁, lo(M₀c₀)).
static inline void philox(Counter (&counters)[TOGETHER], uint32_t k0, uint32_t k1) {
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
        few<TOGETHER>([&](int i) INLINE {
            Counter &c = counters[i];
            words even, even_low, odd, odd_low;
            multiply(c.c0, 0xD2511F53u, even, even_low);
            multiply(c.c2, 0xCD9E8D57u, odd, odd_low);
            c = {odd ^ c.c1 ^ k0, odd_low, even ^ c.c3 ^ k1, even_low};
        });
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}

// The nearest float of a word: a vector of signed numbers converts in one instruction, unsigned ones by halves.
static inline lanes to_float(words x) {
    lanes high = __builtin_convertvector((whole)(x >> 16), lanes), low = __builtin_convertvector((whole)(x & 0xffffu), lanes);
    return high * 65536.0f + low;
}

// Sine and cosine of 0 ≤ x ≤ 2π, to 1 ulp or two: quarters of a turn, and Cephes' polynomials of what is left.
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

// Of a counter: a row of the piece of work, and four columns of it.
struct Place {
    long row, group;
};

// z(b, c, row, column); the first row is `top`, the first column `left`; `key` and `stream` are those of the draw.
KERNEL(keyed_normals, const double *frames, float *z, long key_low, long key_high, long stream, long top, long left, long planes,
       long height, long width, long parts, long threads) {
    // Counters of a row, and rows of a plane that are drawn as one piece of work: vectors run over the ends of rows.
    long first = left / 4, groups = (left + width - 1) / 4 - first + 1, together = std::max(1l, PART / width);
    long pieces = (height + together - 1) / together;
    each(parts * pieces, threads, [&](long piece) {
        long part = piece / pieces, from = piece % pieces * together, rows = std::min(height - from, together);
        uint32_t plane = (uint32_t)(part % planes + (stream << 8)), frame = (uint32_t)frames[part / planes];
        float *to = z + (part * height + from) * width;
        words count;
        for (long lane = 0; lane < LANES; ++lane) count[lane] = (uint32_t)lane;
        long row = 0, group = 0;
        while (row < rows) {
            Counter counters[TOGETHER];
            Place place[TOGETHER * LANES];
            bool in_one_row = group + TOGETHER * LANES <= groups;
            place[0] = {row, group};
            for (int i = 0; i < TOGETHER; ++i) {
                counters[i] = {count + (uint32_t)(first + group), every((uint32_t)(top + from + row)), every(plane), every(frame)};
                if (in_one_row) group += LANES;
                else
                    for (long lane = 0; lane < LANES; ++lane) {
                        place[i * LANES + lane] = {row, group};
                        counters[i].c0[lane] = (uint32_t)(first + group), counters[i].c1[lane] = (uint32_t)(top + from + row);
                        if (++group == groups) group = 0, ++row;
                    }
            }
            if (group == groups) group = 0, ++row;
            philox(counters, (uint32_t)key_low, (uint32_t)key_high);
            float block[TOGETHER][LANES][4];
            few<TOGETHER>([&](int i) INLINE {
                lanes drawn[4];
                box_muller(counters[i].c0, counters[i].c1, drawn[0], drawn[1]);
                box_muller(counters[i].c2, counters[i].c3, drawn[2], drawn[3]);
                for (long lane = 0; lane < LANES; ++lane)
                    for (int j = 0; j < 4; ++j) block[i][lane][j] = drawn[j][lane];
            });
            // Numbers of so many columns side by side, those outside of the row left out.
            auto give = [&](Place here, const float *numbers, long columns) {
                long at = (first + here.group) * 4 - left, low = std::max(-at, 0l), high = std::min(width - at, columns);
                std::memcpy(to + here.row * width + at + low, numbers + low, (high - low) * sizeof(float));
            };
            if (in_one_row) give(place[0], block[0][0], 4 * TOGETHER * LANES);
            else
                for (long i = 0; i < TOGETHER * LANES && place[i].row < rows; ++i) give(place[i], block[i / LANES][i % LANES], 4);
        }
    });
}

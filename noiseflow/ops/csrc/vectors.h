// Vectors of floats and integers, and operations that take a processor one instruction.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX__)
#include <immintrin.h>
#endif

// Inline a function or lambda of vectors: a remaining call would spill all registers.
#define INLINE __attribute__((always_inline))

// If each value goes through many dependent steps, a kernel can ask for longer vectors to hide the latency.  AVX2 has no
// longer ones; there, kernels that also ask for PAIRS get two vectors that go through all steps side by side.  Rows read at
// an offset seldom start at a cache line, which costs more with long vectors.
#if defined(PAIRS) && (!defined(__AVX2__) || defined(__AVX512F__))
#undef PAIRS
#endif
#if defined(PAIRS) || (defined(LONG_VECTORS) && defined(__AVX512F__))
constexpr long LANES = 16;
#elif defined(__AVX__)
constexpr long LANES = 8;
#else
constexpr long LANES = 4;
#endif
// Number of vectors of pixels whose sums over a few planes fit into the registers.
#if defined(__AVX512VL__) || defined(__aarch64__)
constexpr int WIDE = 4;
#else
constexpr int WIDE = 2;
#endif

#if defined(PAIRS)

typedef float eight __attribute__((vector_size(32)));
typedef float eight_anywhere __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t eight_whole __attribute__((vector_size(32)));
typedef double eight_doubles __attribute__((vector_size(64)));

struct doubles {
    eight_doubles low, high;
};
struct whole {
    eight_whole low, high;
};
struct lanes {
    eight low, high;
};

#define OF_PAIRS(result, pair, number, op)                                                                             \
    INLINE static inline result operator op(pair a, pair b) { return {a.low op b.low, a.high op b.high}; }             \
    INLINE static inline result operator op(pair a, number b) { return {a.low op b, a.high op b}; }                    \
    INLINE static inline result operator op(number a, pair b) { return {a op b.low, a op b.high}; }
#define IN_PLACE(pair, op)                                                                                             \
    template <class Other> INLINE static inline pair &operator op##=(pair &a, Other b) { return a = a op b; }

OF_PAIRS(lanes, lanes, float, +) OF_PAIRS(lanes, lanes, float, -) OF_PAIRS(lanes, lanes, float, *) OF_PAIRS(lanes, lanes, float, /)
OF_PAIRS(whole, lanes, float, <) OF_PAIRS(whole, lanes, float, <=) OF_PAIRS(whole, lanes, float, >)
OF_PAIRS(whole, lanes, float, >=) OF_PAIRS(whole, lanes, float, ==)
OF_PAIRS(whole, whole, int, +) OF_PAIRS(whole, whole, int, -) OF_PAIRS(whole, whole, int, &)
OF_PAIRS(whole, whole, int, <<) OF_PAIRS(whole, whole, int, >>)
IN_PLACE(lanes, +) IN_PLACE(lanes, -) IN_PLACE(lanes, *) IN_PLACE(whole, -)
INLINE static inline lanes operator-(lanes a) { return {-a.low, -a.high}; }

INLINE static inline lanes load(const float *from) {
    return {*reinterpret_cast<const eight_anywhere *>(from), *reinterpret_cast<const eight_anywhere *>(from + 8)};
}
INLINE static inline void store(float *to, lanes value) {
    *reinterpret_cast<eight_anywhere *>(to) = value.low, *reinterpret_cast<eight_anywhere *>(to + 8) = value.high;
}
INLINE static inline lanes all(float value) { return {value - eight{}, value - eight{}}; }
INLINE static inline lanes choose(whole mask, lanes yes, lanes no) {
    return {mask.low ? yes.low : no.low, mask.high ? yes.high : no.high};
}
INLINE static inline whole bits_of(lanes x) { return {(eight_whole)x.low, (eight_whole)x.high}; }
INLINE static inline lanes of_bits(whole x) { return {(eight)x.low, (eight)x.high}; }
INLINE static inline lanes to_float(whole x) {
    return {__builtin_convertvector(x.low, eight), __builtin_convertvector(x.high, eight)};
}
INLINE static inline void add_to(doubles &sums, lanes x) {
    sums.low += __builtin_convertvector(x.low, eight_doubles), sums.high += __builtin_convertvector(x.high, eight_doubles);
}
INLINE static inline lanes at_least(float low, lanes x) {
    return {_mm256_max_ps(_mm256_set1_ps(low), x.low), _mm256_max_ps(_mm256_set1_ps(low), x.high)};
}
INLINE static inline lanes at_most(float high, lanes x) {
    return {_mm256_min_ps(_mm256_set1_ps(high), x.low), _mm256_min_ps(_mm256_set1_ps(high), x.high)};
}
INLINE static inline lanes inverse(lanes x) { return 1.0f / x; }
INLINE static inline lanes sqrt(lanes x) { return {_mm256_sqrt_ps(x.low), _mm256_sqrt_ps(x.high)}; }

#else

typedef float lanes __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t whole __attribute__((vector_size(LANES * 4)));
typedef double doubles __attribute__((vector_size(LANES * 8)));

static inline lanes load(const float *from) { return *reinterpret_cast<const lanes *>(from); }
static inline void store(float *to, lanes value) { *reinterpret_cast<lanes *>(to) = value; }
// x − 0 is x for every x, so the compiler removes it; x + 0 differs for −0.
static inline lanes all(float value) { return value - lanes{}; }
static inline lanes choose(whole mask, lanes yes, lanes no) { return mask ? yes : no; }
static inline whole bits_of(lanes x) { return (whole)x; }
static inline lanes of_bits(whole x) { return (lanes)x; }
static inline lanes to_float(whole x) { return __builtin_convertvector(x, lanes); }
static inline void add_to(doubles &sums, lanes x) { sums += __builtin_convertvector(x, doubles); }

// Both propagate NaN.
static inline lanes at_least(float low, lanes x) {
#if defined(LONG_VECTORS) && defined(__AVX512F__)
    return _mm512_max_ps(all(low), x);
#elif defined(__AVX__)
    return _mm256_max_ps(all(low), x);
#else
    return x < low ? all(low) : x;
#endif
}

static inline lanes at_most(float high, lanes x) {
#if defined(LONG_VECTORS) && defined(__AVX512F__)
    return _mm512_min_ps(all(high), x);
#elif defined(__AVX__)
    return _mm256_min_ps(all(high), x);
#else
    return x > high ? all(high) : x;
#endif
}

// 1/x within 2 ulp, for finite x ≥ 10⁻³⁷: the processor's estimate and one step of Newton's method, in a third of the
// time of a division of 64 bytes.
INLINE static inline lanes inverse(lanes x) {
#if defined(LONG_VECTORS) && defined(__AVX512F__)
    lanes guess = _mm512_rcp14_ps(x);
    return guess * (2.0f - x * guess);
#elif defined(__AVX512VL__)
    lanes guess = _mm256_rcp14_ps(x);
    return guess * (2.0f - x * guess);
#else
    return 1.0f / x;
#endif
}

INLINE static inline lanes sqrt(lanes x) {
#if defined(LONG_VECTORS) && defined(__AVX512F__)
    return _mm512_sqrt_ps(x);
#elif defined(__AVX__)
    return _mm256_sqrt_ps(x);
#else
    for (long i = 0; i < LANES; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

#endif

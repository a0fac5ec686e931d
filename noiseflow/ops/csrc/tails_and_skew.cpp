// The skew of few photo-electrons and the heavy tails of read noise, from clean signal, β₁ and β₂ of each plane.
//
// DEGREE is the degree of the polynomials, SPREADS the number of coefficients of the spreads.
// Tensors are (B, C, pixels), contiguous; β₁ and β₂ (B, C).  Each element has its own kurtosis κ of the read noise
// and factor f on the skewness.  Log-dets are sums over parts of 4096 pixels, (B, parts), gradients sums over elements.

#define LONG_VECTORS
#define PAIRS
#include "noise_parameters.h"

constexpr int TERMS = DEGREE + 1;

struct Value {
    lanes value, slope;
};

INLINE static inline Value horner(const float *coefficients, int count, lanes x) {
    Value v = {all(coefficients[count - 1]), lanes{}};
    for (int i = count - 2; i >= 0; --i) {
        v.slope = v.slope * x + v.value;
        v.value = v.value * x + coefficients[i];
    }
    return v;
}

struct Polynomial {
    lanes value = {}, by_u = {}, by_v = {};
    INLINE Polynomial(const float *table, lanes u, lanes v) {
        for (int i = DEGREE; i >= 0; --i) {
            Value inner = horner(table + i * TERMS, TERMS - i, v);
            by_u = by_u * u + value;
            by_v = by_v * u + inner.slope;
            value = value * u + inner.value;
        }
    }
};

// Kurtosis of the whole noise from κ of the read noise.
struct ReadExcess {
    lanes weight, value;
    INLINE ReadExcess(const NoiseParameters &l, float kurtosis) {
        weight = choose(l.read > 1.0f, all(1.0f), l.read);
        value = kurtosis * weight * weight;
    }
    INLINE lanes of_read(const NoiseParameters &l, lanes of, float kurtosis) const { return choose(l.read > 1.0f, lanes{}, of * 2.0f * kurtosis * weight); }
};

// Sinh-arcsinh: ε = shift, log δ, μ = mean and τ = deviation, from the moments; names as in tails_and_skew.py.
struct Skewed {
    ReadExcess read;
    lanes both, per_three, per_four, own, skew, rest, outside;
    whole bent, held;
    Polynomial per_skew, log_delta;
    lanes shift, inverse_delta, turned, odd, even, mean, deviation, variance;
    Value first, second;
    INLINE static lanes clamp(lanes x, float low, float high) {
        x = choose(x < low, all(low), x);
        return choose(x > high, all(high), x);
    }
    INLINE static lanes wanted(const NoiseParameters &l, lanes per_four, lanes read) { return l.excess * per_four + choose(read > 0.0f, lanes{}, read); }
    INLINE Skewed(const NoiseParameters &l, float factor, float kurtosis, const float *polynomials, const float *spreads)
        : read(l, kurtosis), both(inverse((1.0f + heavy() * (1.0f / 3.0f)) * (1.0f + heavy() * (4.0f / 3.0f)))),
          per_three(both * (1.0f + heavy() * (4.0f / 3.0f))), per_four(both * (1.0f + heavy() * (1.0f / 3.0f))),
          own(l.skew * per_three), skew(clamp(factor * own, -MOST_SKEW, MOST_SKEW)),
          rest(wanted(l, per_four, read.value) - skew * skew), bent((rest >= LEAST_REST) & (rest <= MOST_REST)),
          held((factor * own >= -MOST_SKEW) & (factor * own <= MOST_SKEW)),
          per_skew(polynomials, skew * skew, clamp(rest, LEAST_REST, MOST_REST)),
          log_delta(polynomials + TERMS * TERMS, skew * skew, clamp(rest, LEAST_REST, MOST_REST)) {
        shift = skew * per_skew.value;
        inverse_delta = exp(-log_delta.value);
        turned = shift * inverse_delta;
        Hyperbolic at(turned);
        odd = at.sinh, even = at.cosh;
        lanes spread = inverse_delta * inverse_delta - 1.0f;
        first = horner(spreads, SPREADS, spread), second = horner(spreads + SPREADS, SPREADS, spread);
        mean = odd * first.value;
        variance = 0.5f * ((1.0f + 2.0f * odd * odd) * second.value - 1.0f) - mean * mean;
        deviation = sqrt(variance);
    }
    INLINE lanes heavy() const { return choose(read.value < 0.0f, lanes{}, read.value); }
};

// a z³ + z = c x; names as in tails_and_skew.py.
struct Cubic {
    ReadExcess read;
    lanes heavy, a, by_excess, square, spread;
    INLINE Cubic(const NoiseParameters &l, float kurtosis, const float *series) : read(l, kurtosis) {
        heavy = choose(read.value < 0.0f, lanes{}, read.value);
        Value ratio = horner(series, TERMS, log1p(heavy));
        a = heavy * ratio.value;
        by_excess = choose(a < LEAST, lanes{}, ratio.value + heavy * ratio.slope * inverse(1.0f + heavy));
        a = choose(a < LEAST, all(LEAST), a);
        square = 1.0f + a * (6.0f + 15.0f * a);
        spread = sqrt(square);
    }
    INLINE lanes latent(lanes x) const {
        lanes root = sqrt(3.0f * a), turned = 1.5f * root * spread * x;
        return 2.0f * inverse(root) * sinh(asinh(turned, sqrt(1.0f + turned * turned)) * (1.0f / 3.0f));
    }
};

template <class Body> static void in_parts(long batch, long pixels, long threads, Body body) {
    long parts = (pixels + PART - 1) / PART;
    each(batch * parts, threads, [&](long unit) { body(unit, unit / parts, unit % parts * PART); });
}

KERNEL(skew_forward, const float *x, const float *clean, const float *beta1, const float *beta2, const float *factor,
                  const float *kurtosis, const float *polynomials, const float *spreads, float *z, double *log_dets,
                  long batch, long planes, long pixels, long threads) {
    in_parts(batch, pixels, threads, [&](long unit, long element, long from) {
        Total log_det;
        vectors(planes, pixels, from, from + PART, [&](long p, long at, long left) {
            long row = element * planes + p, place = row * pixels + at;
            NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
            Skewed s(l, factor[element], kurtosis[element], polynomials, spreads);
            lanes scaled = s.mean + s.deviation * load(x + place, left), square = 1.0f + scaled * scaled;
            lanes out = sinh(asinh(scaled, sqrt(square)) * inverse(s.inverse_delta) - s.shift);
            store(z + place, out, left);
            log_det.add(first(s.log_delta.value + 0.5f * log(s.variance * (1.0f + out * out) * inverse(square)), left));
        });
        log_dets[unit] = log_det.sum();
    });
}

KERNEL(skew_inverse, const float *z, const float *clean, const float *beta1, const float *beta2, const float *factor,
                  const float *kurtosis, const float *polynomials, const float *spreads, float *x, long batch,
                  long planes, long pixels, long threads) {
    in_parts(batch, pixels, threads, [&](long, long element, long from) {
        vectors(planes, pixels, from, from + PART, [&](long p, long at, long left) {
            long row = element * planes + p, place = row * pixels + at;
            NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
            Skewed s(l, factor[element], kurtosis[element], polynomials, spreads);
            lanes value = load(z + place, left);
            lanes scaled = sinh((asinh(value, sqrt(1.0f + value * value)) + s.shift) * s.inverse_delta);
            store(x + place, (scaled - s.mean) * inverse(s.deviation), left);
        });
    });
}

KERNEL(skew_backward, const float *of_z, const float *of_log_det, const float *x, const float *z, const float *clean,
                   const float *beta1, const float *beta2, const float *factor, const float *kurtosis,
                   const float *polynomials, const float *spreads, float *of_x, float *of_beta1, float *of_beta2,
                   float *of_factor, float *of_kurtosis, long batch, long planes, long pixels, long threads) {
    each(batch, threads, [&](long element) {
        lanes factors = {}, kurtoses = {};
        for (long p = 0; p < planes; ++p) {
            OfBetas betas;
            long row = element * planes + p;
            vectors(1, pixels, 0, pixels, [&](long, long at, long left) {
                long place = row * pixels + at;
                NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
                float f = factor[element], k = kurtosis[element];
                Skewed s(l, f, k, polynomials, spreads);
                lanes value = load(x + place, left), out = load(z + place, left);
                lanes gl = first(all(of_log_det[element]), left), delta = inverse(s.inverse_delta), per_deviation = inverse(s.deviation);
                lanes scaled = s.mean + s.deviation * value, square = 1.0f + scaled * scaled, root = sqrt(square);
                lanes above = 1.0f + out * out, per_root = inverse(root);
                lanes of_turn = (load(of_z + place, left) + gl * out * inverse(above)) * sqrt(above);
                lanes of_log_delta = gl + of_turn * asinh(scaled, root) * delta, of_shift = -of_turn;
                lanes of_mean = (of_turn * delta - gl * scaled * per_root) * per_root;
                lanes of_deviation = gl * per_deviation + of_mean * value;
                store(of_x + place, of_mean * s.deviation, left);
                lanes of_variance = of_deviation * 0.5f * per_deviation;
                of_mean -= of_variance * 2.0f * s.mean;
                lanes of_turned = of_mean * s.first.value * s.even + of_variance * s.second.value * 2.0f * s.odd * s.even;
                lanes of_spread = of_mean * s.odd * s.first.slope + of_variance * 0.5f * (2.0f * s.odd * s.odd + 1.0f) * s.second.slope;
                of_log_delta -= of_spread * 2.0f * s.inverse_delta * s.inverse_delta + of_turned * s.turned;
                of_shift += of_turned * s.inverse_delta;
                lanes of_skew = of_shift * s.per_skew.value, of_per = of_shift * s.skew;
                lanes of_rest = of_per * s.per_skew.by_v + of_log_delta * s.log_delta.by_v;
                of_rest = choose(s.bent, of_rest, lanes{});
                lanes of_square = of_per * s.per_skew.by_u + of_log_delta * s.log_delta.by_u - of_rest;
                of_skew += of_square * 2.0f * s.skew;
                of_skew = choose(s.held, of_skew, lanes{});
                factors += of_skew * s.own;
                of_skew *= f;
                lanes of_heavy = of_skew * s.own * s.per_three * (-1.0f / 3) -
                                 of_rest * l.excess * s.per_four * s.per_four * (4.0f / 3);
                lanes of_read = choose(s.read.value >= 0.0f, of_heavy, lanes{}) + choose(s.read.value <= 0.0f, of_rest, lanes{});
                kurtoses += of_read * s.read.weight * s.read.weight;
                betas.add(l, lanes{}, s.read.of_read(l, of_read, k), of_skew * s.per_three, of_rest * s.per_four);
            });
            of_beta1[row] = sum(betas.one), of_beta2[row] = sum(betas.two);
        }
        of_factor[element] = sum(factors), of_kurtosis[element] = sum(kurtoses);
    });
}

KERNEL(tails_forward, const float *x, const float *clean, const float *beta1, const float *beta2, const float *kurtosis,
                   const float *series, float *z, double *log_dets, long batch, long planes, long pixels, long threads) {
    in_parts(batch, pixels, threads, [&](long unit, long element, long from) {
        Total log_det;
        vectors(planes, pixels, from, from + PART, [&](long p, long at, long left) {
            long row = element * planes + p, place = row * pixels + at;
            NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
            Cubic c(l, kurtosis[element], series);
            lanes out = c.latent(load(x + place, left));
            store(z + place, out, left);
            log_det.add(first(log(c.spread * inverse(1.0f + 3.0f * c.a * out * out)), left));
        });
        log_dets[unit] = log_det.sum();
    });
}

KERNEL(tails_inverse, const float *z, const float *clean, const float *beta1, const float *beta2, const float *kurtosis,
                   const float *series, float *x, long batch, long planes, long pixels, long threads) {
    in_parts(batch, pixels, threads, [&](long, long element, long from) {
        vectors(planes, pixels, from, from + PART, [&](long p, long at, long left) {
            long row = element * planes + p, place = row * pixels + at;
            NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
            Cubic c(l, kurtosis[element], series);
            lanes value = load(z + place, left);
            store(x + place, value * (1.0f + c.a * value * value) * inverse(c.spread), left);
        });
    });
}

// By the implicit derivative of z (1 + a z²) = c x.
KERNEL(tails_backward, const float *of_z, const float *of_log_det, const float *x, const float *z, const float *clean,
                    const float *beta1, const float *beta2, const float *kurtosis, const float *series, float *of_x,
                    float *of_beta1, float *of_beta2, float *of_kurtosis, long batch, long planes, long pixels,
                    long threads) {
    each(batch, threads, [&](long element) {
        lanes kurtoses = {};
        for (long p = 0; p < planes; ++p) {
            OfBetas betas;
            long row = element * planes + p;
            vectors(1, pixels, 0, pixels, [&](long, long at, long left) {
                long place = row * pixels + at;
                NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
                Cubic c(l, kurtosis[element], series);
                lanes value = load(x + place, left), out = load(z + place, left), gl = first(all(of_log_det[element]), left);
                lanes square = out * out, slope = inverse(1.0f + 3.0f * c.a * square), per_spread = inverse(c.spread);
                lanes of_out = load(of_z + place, left) - gl * 6.0f * c.a * out * slope;
                lanes grown = (3.0f + 15.0f * c.a) * per_spread;
                lanes of_a = of_out * (grown * value - out * square) * slope + gl * (grown * per_spread - 3.0f * square * slope);
                store(of_x + place, of_out * c.spread * slope, left);
                lanes of_read = choose(c.read.value >= 0.0f, of_a * c.by_excess, lanes{});
                kurtoses += of_read * c.read.weight * c.read.weight;
                betas.add(l, lanes{}, c.read.of_read(l, of_read, kurtosis[element]), lanes{}, lanes{});
            });
            of_beta1[row] = sum(betas.one), of_beta2[row] = sum(betas.two);
        }
        of_kurtosis[element] = sum(kurtoses);
    });
}

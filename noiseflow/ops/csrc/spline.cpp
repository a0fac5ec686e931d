// A rational-quadratic spline for each value; its knots come from a final 1×1 convolution of hidden planes.
//
// The compiler's -D sets P, the planes; K, the bins; and F, the hidden planes.  With MIRROR the spline is odd: its K bins
// cover [0, box], and the slope at 0 is a parameter too; otherwise they cover [−box, box].  The R raw numbers of a pixel (K
// widths, K heights and the slopes of each plane) are never stored: they are computed from the hidden planes where they are
// needed, 64 pixels at a time.  Tensors are (B, planes, pixels), contiguous; the weight is (R, F).

#define LONG_VECTORS
#include "simd.h"

constexpr int SLOPES = MIRROR ? K : K - 1, Q = 2 * K + SLOPES, R = P * Q;
// Raw slope of knot k, for knots that have one.
constexpr int slope_of(int k) { return 2 * K + k - (MIRROR ? 0 : 1); }
// `grown`: exp(b·tanh(r/b)), with b the bound of the logits or that of the log slopes, as (Q + xP)/(Q − xP), x = r/b clamped to
// ±REACH: ODD coefficients of P in x², then EVEN of Q.  Half the cost of tanh and then exp.

struct Bounds {
    float box, logit, slope;
    const float *by_logit, *by_slope;
    float start() const { return MIRROR ? 0 : -box; }
    float span() const { return MIRROR ? box : 2 * box; }
};

// Argument and result of an odd spline, with the sign of the value.
static inline lanes folded(lanes x) { return MIRROR ? absolute(x) : x; }
static inline lanes signed_as(lanes x, lanes found) { return MIRROR ? (x < 0.0f ? -found : found) : found; }

INLINE static inline lanes grown(lanes x, const float *table) {
    x = x < -REACH ? all(-REACH) : x;
    x = x > REACH ? all(REACH) : x;
    lanes square = x * x, odd = all(table[ODD - 1]), even = all(table[ODD + EVEN - 1]);
    for (int i = ODD - 2; i >= 0; --i) odd = odd * square + table[i];
    for (int i = EVEN - 2; i >= 0; --i) even = even * square + table[ODD + i];
    odd *= x;
    return (even + odd) * inverse(even - odd);
}

typedef float Raw[Q][BLOCK];
typedef float Hidden[F][BLOCK];

// For one vector of values: its bin, and what the gradients need.
struct Bin {
    lanes bounded[2][K], size[2][K], factor[2];          // tanh of logits, bin sizes as parts of the box
    lanes index, low[2], extent[2], slope[2], turned[2]; // the bin; tanh of the raw slopes at its ends
    whole inside;
};

template <bool GRADIENT> INLINE static inline void find_sizes(const Raw &raw, long x, const Bounds &b, Bin &bin) {
    for (int a = 0; a < 2; ++a) {
        lanes total = {};
        for (int k = 0; k < K; ++k) {
            lanes scaled = load(raw[a * K + k] + x) * (1.0f / b.logit);
            if (GRADIENT) bin.bounded[a][k] = tanh(scaled);
            bin.size[a][k] = grown(scaled, b.by_logit);
            total += bin.size[a][k];
        }
        lanes per_total = inverse(total);
        for (int k = 0; k < K; ++k) bin.size[a][k] *= per_total;
    }
}

template <bool GRADIENT>
INLINE static inline void find(const Raw &raw, long x, lanes value, int axis, const Bounds &b, Bin &bin) {
    for (int a = 0; a < 2; ++a) bin.low[a] = all(b.start()), bin.extent[a] = bin.size[a][0] * b.span();
    auto raw_slope = [&](int k) INLINE {
        bool given = k < K && (MIRROR || k);
        return given ? load(raw[given ? slope_of(k) : 0] + x) : lanes{};
    };
    lanes edge[2] = {all(b.start()), all(b.start())}, raw_low = raw_slope(0), raw_high = raw_slope(1);
    bin.index = lanes{};
    for (int k = 1; k < K; ++k) {
        for (int a = 0; a < 2; ++a) edge[a] += bin.size[a][k - 1] * b.span();
        whole beyond = value >= edge[axis];
        for (int a = 0; a < 2; ++a) {
            bin.low[a] = beyond ? edge[a] : bin.low[a];
            bin.extent[a] = beyond ? bin.size[a][k] * b.span() : bin.extent[a];
        }
        raw_low = beyond ? raw_slope(k) : raw_low;
        raw_high = beyond ? raw_slope(k + 1) : raw_high;
        bin.index = beyond ? all(k) : bin.index;
    }
    lanes ends[2] = {raw_low * (1.0f / b.slope), raw_high * (1.0f / b.slope)};
    for (int end = 0; end < 2; ++end) {
        if (GRADIENT) bin.turned[end] = tanh(ends[end]);
        bin.slope[end] = grown(ends[end], b.by_slope);
    }
    bin.inside = (value > -b.box) & (value < b.box);
}

// Durkan et al. 2019, eq. 4-5, and their derivatives.
struct Curve {
    lanes at, slope, between, under, over, top;
    INLINE Curve(const Bin &bin, lanes x) {
        lanes per_width = inverse(bin.extent[0]);
        at = bin.inside ? (x - bin.low[0]) * per_width : all(0.5f);
        slope = bin.extent[1] * per_width;
        between = at * (1.0f - at);
        under = slope + (bin.slope[1] + bin.slope[0] - 2.0f * slope) * between;
        over = slope * at * at + bin.slope[0] * between;
        top = bin.slope[1] * at * at + 2.0f * slope * between + bin.slope[0] * (1.0f - at) * (1.0f - at);
    }
};

// z, and the log-det of each element of the batch.
KERNEL(forward, const float *x, const float *hidden, const float *weight, const float *bias, float box, float logit,
             float slope, const float *by_logit, const float *by_slope, float *z, float *log_dets, long batch, long pixels, long threads) {
    Bounds b{box, logit, slope, by_logit, by_slope};
    each(batch, threads, [&](long element) {
        double log_det = 0;
        for (long at = 0; at < pixels; at += BLOCK) {
            Hidden h;
            take(hidden + element * F * pixels, pixels, at, h);
            lanes total = {};
            for (int p = 0; p < P; ++p) {
                Raw raw;
                linear(h, weight + p * Q * F, bias + p * Q, raw);
                // All vectors together, because the steps of one depend on each other.
                Bin bins[BLOCK / LANES];
                for (long j = 0; j < BLOCK; j += LANES) find_sizes<false>(raw, j, b, bins[j / LANES]);
                for (long j = 0; j < BLOCK && at + j < pixels; j += LANES) {
                    long left = pixels - at - j, place = (element * P + p) * pixels + at + j;
                    lanes value = load(x + place, left), size = folded(value);
                    Bin &bin = bins[j / LANES];
                    find<false>(raw, j, size, 0, b, bin);
                    Curve c(bin, size);
                    lanes per_under = inverse(c.under), y = signed_as(value, bin.low[1] + bin.extent[1] * c.over * per_under);
                    store(z + place, bin.inside ? y : value, left);
                    lanes growth = c.slope * per_under;
                    total += first(bin.inside ? log(growth * growth * c.top) : lanes{}, left);
                }
            }
            log_det += sum(total);
        }
        log_dets[element] = log_det;
    });
}

// The x at which forward gives z; eq. 6-8.
KERNEL(inverse, const float *z, const float *hidden, const float *weight, const float *bias, float box, float logit,
             float slope, const float *by_logit, const float *by_slope, float *x, long batch, long pixels, long threads) {
    Bounds b{box, logit, slope, by_logit, by_slope};
    long parts = (pixels + PART - 1) / PART;
    each(batch * parts, threads, [&](long unit) {
        long element = unit / parts, from = unit % parts * PART;
        for (long at = from; at < std::min(from + PART, pixels); at += BLOCK) {
            Hidden h;
            take(hidden + element * F * pixels, pixels, at, h);
            for (int p = 0; p < P; ++p) {
                Raw raw;
                linear(h, weight + p * Q * F, bias + p * Q, raw);
                // All vectors together, because the steps of one depend on each other.
                Bin bins[BLOCK / LANES];
                for (long j = 0; j < BLOCK; j += LANES) find_sizes<false>(raw, j, b, bins[j / LANES]);
                for (long j = 0; j < BLOCK && at + j < pixels; j += LANES) {
                    long left = pixels - at - j, place = (element * P + p) * pixels + at + j;
                    lanes value = load(z + place, left), size = folded(value);
                    Bin &bin = bins[j / LANES];
                    find<false>(raw, j, size, 1, b, bin);
                    lanes s = bin.extent[1] * inverse(bin.extent[0]);
                    lanes above = bin.inside ? size - bin.low[1] : 0.5f * bin.extent[1];
                    lanes curve = above * (bin.slope[1] + bin.slope[0] - 2.0f * s);
                    lanes qa = bin.extent[1] * (s - bin.slope[0]) + curve, qb = bin.extent[1] * bin.slope[0] - curve;
                    lanes qc = -s * above, root = qb * qb - 4.0f * qa * qc;
                    root = sqrt(root < 0.0f ? lanes{} : root);
                    lanes found = signed_as(value, bin.low[0] - 2.0f * qc * inverse(qb + root) * bin.extent[0]);
                    store(x + place, bin.inside ? found : value, left);
                }
            }
        }
    });
}

// Gradients of x and of the hidden planes; for each element of the batch, sums for weight (P, F, Q) and bias (R).
KERNEL(backward, const float *of_z, const float *of_log_det, const float *x, const float *hidden, const float *weight,
              const float *bias, float box, float logit, float slope, const float *by_logit, const float *by_slope, float *of_x,
              float *of_hidden, float *of_weight, float *of_bias, long batch, long pixels, long threads) {
    Bounds b{box, logit, slope, by_logit, by_slope};
    each(batch, threads, [&](long element) {
        std::vector<float> weights(R * F * LANES), biases(R * LANES);
        lanes gl = all(of_log_det[element]);
        for (long at = 0; at < pixels; at += BLOCK) {
            Hidden h, of_h = {};
            take(hidden + element * F * pixels, pixels, at, h);
            for (int p = 0; p < P; ++p) {
                Raw raw, of_raw = {};
                linear(h, weight + p * Q * F, bias + p * Q, raw);
                // All vectors together, because the steps of one depend on each other.
                Bin bins[BLOCK / LANES];
                for (long j = 0; j < BLOCK; j += LANES) find_sizes<true>(raw, j, b, bins[j / LANES]);
                for (long j = 0; j < BLOCK && at + j < pixels; j += LANES) {
                    long left = pixels - at - j, place = (element * P + p) * pixels + at + j;
                    lanes value = load(x + place, left), size = folded(value), given = load(of_z + place, left);
                    lanes gy = signed_as(value, given);
                    Bin &bin = bins[j / LANES];
                    find<true>(raw, j, size, 0, b, bin);
                    Curve c(bin, size);
                    lanes low = bin.slope[0], high = bin.slope[1], height = bin.extent[1], width = bin.extent[0];
                    lanes per = inverse(c.under), per_width = inverse(width);
                    lanes g_over = gy * height * per, g_under = -(g_over * c.over + 2.0f * gl) * per, g_top = gl * inverse(c.top);
                    lanes rest = 1.0f - c.at;
                    lanes g_slope = 2.0f * gl * inverse(c.slope) + g_over * c.at * c.at + g_under * (1.0f - 2.0f * c.between) +
                                    g_top * 2.0f * c.between;
                    lanes g_low = (g_over + g_under) * c.between + g_top * rest * rest;
                    lanes g_high = g_under * c.between + g_top * c.at * c.at;
                    lanes g_between = g_over * low + g_under * (high + low - 2.0f * c.slope) + g_top * 2.0f * c.slope;
                    lanes g_at = g_over * 2.0f * c.slope * c.at + 2.0f * g_top * (high * c.at - low * rest) +
                                 g_between * (1.0f - 2.0f * c.at);
                    lanes g_x = g_at * per_width;
                    store(of_x + place, bin.inside ? signed_as(value, g_x) : given, left);
                    lanes g_place[2] = {-g_x, gy};
                    lanes g_extent[2] = {-(g_slope * c.slope + g_at * c.at) * per_width, gy * c.over * per + g_slope * per_width};
                    whole used = bin.inside;
                    for (int a = 0; a < 2; ++a) {
                        lanes mean = {}, of[K];
                        for (int k = 0; k < K; ++k) {
                            lanes beyond = bin.index > float(k) ? g_place[a] : bin.index == float(k) ? g_extent[a] : lanes{};
                            of[k] = beyond * b.span();
                            mean += of[k] * bin.size[a][k];
                        }
                        for (int k = 0; k < K; ++k) {
                            lanes t = bin.bounded[a][k];
                            lanes got = bin.size[a][k] * (of[k] - mean) * (1.0f - t * t);
                            store(of_raw[a * K + k] + j, first(used ? got : lanes{}, left));
                        }
                    }
                    lanes g_end[2] = {g_low * low * (1.0f - bin.turned[0] * bin.turned[0]),
                                      g_high * high * (1.0f - bin.turned[1] * bin.turned[1])};
                    for (int k = MIRROR ? 0 : 1; k < K; ++k) {
                        lanes got = bin.index == float(k) ? g_end[0] : bin.index == float(k - 1) ? g_end[1] : lanes{};
                        store(of_raw[slope_of(k)] + j, first(used ? got : lanes{}, left));
                    }
                }
                linear_back(of_raw, weight + p * Q * F, of_h);
                outer(h, of_raw, weights.data() + p * F * Q * LANES);
                add_up(of_raw, biases.data() + p * Q * LANES);
            }
            give(of_h, pixels, at, of_hidden + element * F * pixels);
        }
        collect(weights, of_weight + element * R * F);
        collect(biases, of_bias + element * R);
    });
}

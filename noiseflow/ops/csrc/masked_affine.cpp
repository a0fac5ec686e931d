// A masked affine coupling; shift and raw log scale come from a final 1×1 convolution of hidden planes.
//
// The compiler's -D sets C, the planes, and F, the hidden planes.  Tensors are (B, planes, pixels), contiguous; `free` is 1
// where a value is transformed and 0 where it conditions, (C, pixels); the weight is (2C, F), shifts first.

#include "simd.h"

struct Coupled {
    lanes turned, log_scale, shift; // tanh of raw ÷ bound, and both parameters, 0 where a value stays
};

static inline Coupled at_pixels(const float (&raw)[2 * C][BLOCK], int p, long x, lanes free, float bound) {
    lanes turned = tanh(load(raw[C + p] + x) * (1.0f / bound));
    return {turned, turned * bound * free, load(raw[p] + x) * free};
}

// Data → latent with the log-det of each part of 4096 pixels, (B, parts); without log-det, latent → data.
KERNEL(apply, const float *x, const float *hidden, const float *weight, const float *bias, const float *free, float bound,
           float *z, double *log_dets, long batch, long pixels, long threads) {
    long parts = (pixels + PART - 1) / PART;
    each(batch * parts, threads, [&](long unit) {
        long element = unit / parts, from = unit % parts * PART;
        double log_det = 0;
        for (long at = from; at < std::min(from + PART, pixels); at += BLOCK) {
            float h[F][BLOCK], raw[2 * C][BLOCK];
            take(hidden + element * F * pixels, pixels, at, h);
            linear(h, weight, bias, raw);
            lanes total = {};
            for (int p = 0; p < C; ++p)
                for (long j = 0; j < BLOCK && at + j < pixels; j += LANES) {
                    long left = pixels - at - j, place = (element * C + p) * pixels + at + j;
                    lanes value = load(x + place, left);
                    Coupled c = at_pixels(raw, p, j, load(free + p * pixels + at + j, left), bound);
                    lanes out = log_dets ? value * exp(c.log_scale) + c.shift : (value - c.shift) * exp(-c.log_scale);
                    store(z + place, out, left);
                    total += c.log_scale;
                }
            log_det += sum(total);
        }
        if (log_dets) log_dets[unit] = log_det;
    });
}

// Gradients of x (without the part through the net) and of the hidden planes; for each element of the batch, sums for
// weight (F, 2C) and bias (2C).
KERNEL(backward, const float *of_z, const float *of_log_det, const float *x, const float *hidden, const float *weight,
              const float *bias, const float *free, float bound, float *of_x, float *of_hidden, float *of_weight,
              float *of_bias, long batch, long pixels, long threads) {
    each(batch, threads, [&](long element) {
        std::vector<float> weights(2 * C * F * LANES), biases(2 * C * LANES);
        for (long at = 0; at < pixels; at += BLOCK) {
            float h[F][BLOCK], raw[2 * C][BLOCK], of_h[F][BLOCK] = {}, of_raw[2 * C][BLOCK] = {};
            take(hidden + element * F * pixels, pixels, at, h);
            linear(h, weight, bias, raw);
            for (int p = 0; p < C; ++p)
                for (long j = 0; j < BLOCK && at + j < pixels; j += LANES) {
                    long left = pixels - at - j, place = (element * C + p) * pixels + at + j;
                    lanes is_free = load(free + p * pixels + at + j, left), of = load(of_z + place, left);
                    Coupled c = at_pixels(raw, p, j, is_free, bound);
                    lanes grown = of * exp(c.log_scale);
                    store(of_x + place, grown, left);
                    lanes of_scale = (grown * load(x + place, left) + of_log_det[element]) * is_free;
                    store(of_raw[p] + j, of * is_free);
                    store(of_raw[C + p] + j, of_scale * (1.0f - c.turned * c.turned));
                }
            linear_back(of_raw, weight, of_h);
            outer(h, of_raw, weights.data());
            add_up(of_raw, biases.data());
            give(of_h, pixels, at, of_hidden + element * F * pixels);
        }
        collect(weights, of_weight + element * 2 * C * F);
        collect(biases, of_bias + element * 2 * C);
    });
}

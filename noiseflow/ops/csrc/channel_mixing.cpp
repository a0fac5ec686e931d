// Mix the planes of each pixel by a matrix, and compute the gradients.  The compiler's -D sets C, the number of planes;
// tensors are (B, C, pixels), contiguous, and the weight is (in, out).

#include "simd.h"

// z(o) = Σ weight(i, o) · x(i).
KERNEL(mix, const float *x, const float *weight, float *z, long batch, long pixels, long threads) {
    long parts = (pixels + PART - 1) / PART;
    each(batch * parts, threads, [&](long unit) {
        long start = unit / parts * C * pixels, from = unit % parts * PART;
        for (long at = from; at < std::min(from + PART, pixels); at += LANES) {
            lanes out[C] = {};
            long left = pixels - at;
            for (int i = 0; i < C; ++i) {
                lanes value = load(x + start + i * pixels + at, left);
                for (int o = 0; o < C; ++o) out[o] += weight[i * C + o] * value;
            }
            for (int o = 0; o < C; ++o) store(z + start + o * pixels + at, out[o], left);
        }
    });
}

// Gradient of the weight for each element of the batch, (C, C): Σ x(i) · of_z(o).
KERNEL(mix_of_weight, const float *x, const float *of_z, double *sums, long batch, long pixels, long threads) {
    each(batch, threads, [&](long element) {
        const float *own = x + element * C * pixels, *of = of_z + element * C * pixels;
        double *total = sums + element * C * C;
        std::fill(total, total + C * C, 0.0);
        for (long from = 0; from < pixels; from += PART / 4) {
            lanes acc[C][C] = {};
            for (long at = from; at < std::min(from + PART / 4, pixels); at += LANES)
                for (int i = 0; i < C; ++i)
                    for (int o = 0; o < C; ++o)
                        acc[i][o] += load(own + i * pixels + at, pixels - at) * load(of + o * pixels + at, pixels - at);
            for (int i = 0; i < C * C; ++i) total[i] += sum(acc[i / C][i % C]);
        }
    });
}

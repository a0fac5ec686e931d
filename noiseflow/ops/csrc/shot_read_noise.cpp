// Standard deviation of shot and read noise, from clean signal, β₁ and β₂ of each plane.
//
// Tensors are (B, C, pixels), contiguous; β₁ and β₂ (B, C).  Gradients are sums over elements.

#include "noise_parameters.h"

// Share of the read noise, then skewness of the shot noise, (B, 2C, pixels).
KERNEL(features, const float *clean, const float *beta1, const float *beta2, float *to, long batch, long planes, long pixels,
              long threads) {
    each(batch, threads, [&](long element) {
        vectors(planes, pixels, 0, pixels, [&](long p, long at, long left) {
            long row = element * planes + p;
            NoiseParameters l(load(clean + row * pixels + at, left), beta1[row], beta2[row]);
            float *here = to + (element * 2 * planes + p) * pixels + at;
            store(here, l.read, left);
            store(here + planes * pixels, l.skew, left);
        });
    });
}

// x divided by its standard deviation, with the sums of log s² of each plane.
KERNEL(scale_forward, const float *x, const float *clean, const float *beta1, const float *beta2, float *z, double *logs,
                   long rows, long pixels, long threads) {
    each(rows, threads, [&](long row) {
        Total total;
        vectors(1, pixels, 0, pixels, [&](long, long at, long left) {
            long place = row * pixels + at;
            NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
            store(z + place, load(x + place, left) * sqrt(l.inverse), left);
            total.add(first(log(l.variance), left));
        });
        logs[row] = total.sum();
    });
}

KERNEL(scale_inverse, const float *z, const float *clean, const float *beta1, const float *beta2, float *x, long rows,
                   long pixels, long threads) {
    each(rows, threads, [&](long row) {
        vectors(1, pixels, 0, pixels, [&](long, long at, long left) {
            long place = row * pixels + at;
            NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
            store(x + place, load(z + place, left) * sqrt(l.variance), left);
        });
    });
}

KERNEL(scale_backward, const float *of_z, const float *of_logs, const float *z, const float *clean, const float *beta1,
                    const float *beta2, float *of_x, float *of_beta1, float *of_beta2, long rows, long pixels,
                    long threads) {
    each(rows, threads, [&](long row) {
        OfBetas betas;
        lanes of_log = all(of_logs[row]);
        vectors(1, pixels, 0, pixels, [&](long, long at, long left) {
            long place = row * pixels + at;
            NoiseParameters l(load(clean + place, left), beta1[row], beta2[row]);
            lanes of = load(of_z + place, left);
            if (of_x) store(of_x + place, of * sqrt(l.inverse), left);
            lanes of_variance = l.inverse * (first(of_log, left) - 0.5f * of * load(z + place, left));
            betas.add(l, of_variance, lanes{}, lanes{}, lanes{});
        });
        of_beta1[row] = sum(betas.one), of_beta2[row] = sum(betas.two);
    });
}

// Noise of a frame with the memory of a sequence: terms (B, 5) are the variances of offsets, of gains per signal squared and
// of telegraph pixels, and the offset and gain of the frame.
KERNEL(remember, const float *x, const float *clean, const float *variance, const float *offsets, const float *gains,
              const float *terms, float *to, float least, float most_traps, long latent, long batch, long planes, long pixels,
              long threads) {
    each(batch * planes, threads, [&](long row) {
        const float *term = terms + 5 * (row / planes);
        const float dark = term[0], lit = term[1], traps = term[2], offset = term[3], gain = term[4];
        vectors(1, pixels, 0, pixels, [&](long, long at, long left) {
            long place = row * pixels + at;
            lanes light = at_least(0.0f, load(clean + place, left)), whole_part = load(variance + place, left);
            lanes jumping = whole_part - traps, bound = (1.0f - most_traps) * whole_part;
            jumping = choose(jumping < bound, bound, jumping);
            lanes most = jumping - least * whole_part, taken = dark + lit * light * light, pattern = {};
            whole over = taken > most;
            if (offsets) pattern = load(offsets + place, left);
            if (gains) pattern += load(gains + place, left) * light;
            pattern = choose(over, pattern * sqrt(most / taken), pattern);
            lanes noise = load(x + place, left) * sqrt(jumping - choose(over, most, taken)) + pattern + (offset + gain * light);
            store(to + place, latent ? noise / sqrt(whole_part) : noise, left);
        });
    });
}

// Row noise in units of the read-noise variance, from clean signal, β₁ and β₂ of each plane.
//
// Tensors are (B, C, H, W), contiguous; β₁ and β₂ (B, C); `side` neighbouring planes share a row.  A unit offset of a
// row is d = √(β₂/s²) at each pixel; r is the variance of the offset for each element.  Gradients are sums over elements.

#include <cmath>

#include "noise_parameters.h"

struct Shape {
    long planes, height, width;
    long pixels() const { return height * width; }
};

static inline lanes offset(const NoiseParameters &l, long left) { return first(sqrt(l.read), left); }

// Call body(place in the element, left, plane) for every vector of a sensor row, which `side` planes share.
template <class Body> static inline void along(const Shape &s, long side, long group, long y, Body body) {
    for (long p = group * side; p < (group + 1) * side; ++p)
        for (long x = 0; x < s.width; x += LANES) body(p * s.pixels() + y * s.width + x, s.width - x, p);
}

// Σ d·x, then Σ d², of each row: (2, B, C/side, H).
KERNEL(line_sums, const float *x, const float *clean, const float *beta1, const float *beta2, float *sums, long batch,
               long planes, long height, long width, long side, long threads) {
    Shape s{planes, height, width};
    const long groups = planes / side;
    each(batch * groups, threads, [&](long unit) {
        long element = unit / groups, start = element * planes * s.pixels();
        for (long y = 0; y < height; ++y) {
            lanes projection = {}, square = {};
            along(s, side, unit % groups, y, [&](long at, long left, long p) {
                long row = element * planes + p;
                lanes d = offset(NoiseParameters(load(clean + start + at, left), beta1[row], beta2[row]), left);
                projection += d * load(x + start + at, left);
                square += d * d;
            });
            sums[unit * height + y] = sum(projection);
            sums[(batch * groups + unit) * height + y] = sum(square);
        }
    });
}

// x + d · factor(row).
KERNEL(line_add, const float *x, const float *clean, const float *beta1, const float *beta2, const float *factors, float *z,
              long batch, long planes, long height, long width, long side, long threads) {
    Shape s{planes, height, width};
    const long groups = planes / side;
    each(batch * groups, threads, [&](long unit) {
        long element = unit / groups, start = element * planes * s.pixels();
        for (long y = 0; y < height; ++y) {
            float factor = factors[unit * height + y];
            along(s, side, unit % groups, y, [&](long at, long left, long p) {
                long row = element * planes + p;
                NoiseParameters l(load(clean + start + at, left), beta1[row], beta2[row]);
                store(z + start + at, load(x + start + at, left) + offset(l, left) * factor, left);
            });
        }
    });
}

// Gradients of z = x + d · f(p, m), with p = Σ d·x and m = Σ d², for x, β₁ and β₂.  Given are f and df/dp of each row, and
// `of_square`, the gradient of m through the log-det.  `of_factors` is Σ (dL/dz) · d, the gradient of f(·, r).
KERNEL(line_backward, const float *of_z, const float *x, const float *clean, const float *beta1, const float *beta2,
                   const float *factors, const float *by_projection, const float *by_square, const float *of_square,
                   float *of_x, float *of_beta1, float *of_beta2, float *of_factors, long batch, long planes,
                   long height, long width, long side, long threads) {
    Shape s{planes, height, width};
    const long groups = planes / side;
    each(batch * groups, threads, [&](long unit) {
        long element = unit / groups, start = element * planes * s.pixels();
        std::vector<OfBetas> betas(planes);
        for (long y = 0; y < height; ++y) {
            long row_of = unit * height + y;
            lanes total = {};
            along(s, side, unit % groups, y, [&](long at, long left, long p) {
                long row = element * planes + p;
                lanes d = offset(NoiseParameters(load(clean + start + at, left), beta1[row], beta2[row]), left);
                total += d * load(of_z + start + at, left);
            });
            float of_factor = sum(total);
            of_factors[row_of] = of_factor;
            float of_projection = of_factor * by_projection[row_of];
            float of_m = of_factor * by_square[row_of] + of_square[row_of];
            along(s, side, unit % groups, y, [&](long at, long left, long p) {
                long row = element * planes + p;
                NoiseParameters l(load(clean + start + at, left), beta1[row], beta2[row]);
                lanes d = offset(l, left), of = load(of_z + start + at, left), value = load(x + start + at, left);
                store(of_x + start + at, of + of_projection * d, left);
                // d² is the share: its gradient is ½/d times that of d, plus that of m.
                lanes of_read = (of * factors[row_of] + of_projection * value) * 0.5f / sqrt(l.read) + of_m;
                betas[p].add(l, lanes{}, first(of_read, left), lanes{}, lanes{});
            });
        }
        for (long p = unit % groups * side; p < (unit % groups + 1) * side; ++p)
            of_beta1[element * planes + p] = sum(betas[p].one), of_beta2[element * planes + p] = sum(betas[p].two);
    });
}

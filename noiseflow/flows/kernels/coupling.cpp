// Noise Flow's affine coupling in training, in as few passes as batch norms allow.
//
// Tensors are (B, planes, H, W), contiguous.  Weights come as (in, 3, 3, out) and (in, out), the norm's numbers
// folded in where they are constants.  `border` is what the border's channel adds: its first, a middle and its
// last row, (rows, 2N, W).

#include "coupling.h"

struct Shape {
    long batch, height, width, threads;
    long pixels() const { return height * width; }
    long border_row(long y) const { return y == 0 ? 0 : y < height - 1 ? 1 : std::min(height, 3L) - 1; }
};

struct Last {
    const float *weight, *border;
    float bound;
};

// One row of the coupling's output from three rows of hidden values; log_det may be null.
static void couple_row(const Shape &s, const Last &last, const float *const (&hidden)[F][3], const float *x, float *z,
                       float *squashed, long y, bool inverse, double *log_det) {
    const float *border = last.border + s.border_row(y) * O * s.width;
    lanes total = {};
    for (long at = 0; at < s.width; at += 2 * LANES) {
        lanes out[O][2];
        for (int half = 0; half < 2; ++half)
            for (int o = 0; o < O; ++o) {
                long left = s.width - at - half * LANES;
                out[o][half] = left > 0 ? load(border + o * s.width + at + half * LANES, left) : lanes{};
            }
        conv<F, O>(hidden, at, last.weight, out);
        for (int half = 0; half < 2; ++half) {
            long place = at + half * LANES, left = s.width - place;
            if (left <= 0) break;
            for (int p = 0; p < N; ++p) {
                lanes t = tanh(out[N + p][half]), scale = last.bound * t;
                long offset = (A + p) * s.pixels() + y * s.width + place;
                lanes b = load(x + offset, left);
                store(z + offset, inverse ? (b - out[p][half]) * exp(-scale) : b * exp(scale) + out[p][half], left);
                if (squashed) store(squashed + p * s.pixels() + y * s.width + place, t, left);
                total += first(scale, left);
            }
        }
    }
    if (log_det) *log_det += sum(total);
}

extern "C" {

// Of each image and plane: a value, and sum and sum of squares of the differences from it.
struct Moments {
    lanes sum[F] = {}, square[F] = {};
    float reference[F];
    double total[F] = {}, squares[F] = {};
    void add(int f, lanes value, long left) {
        lanes d = first(value - reference[f], left);
        sum[f] += d, square[f] += d * d;
    }
    void end_row() {
        for (int f = 0; f < F; ++f) {
            total[f] += ::sum(sum[f]), squares[f] += ::sum(square[f]);
            sum[f] = square[f] = lanes{};
        }
    }
    void write(double *to, long pixels) {
        for (int f = 0; f < F; ++f) {
            to[f] = reference[f] + total[f] / pixels;
            to[F + f] = squares[f] - total[f] * total[f] / pixels;
        }
    }
};

// First convolution, c1 (B, F, H, W), and mean and sum of squared deviations of it, (B, 2, F).
void train_first(const float *x, const float *w1, const float *b1, float *c1, double *moments, long batch, long height,
                 long width, long threads) {
    Shape s{batch, height, width, threads};
    each(batch, threads, [&](long image) {
        const float *own = x + image * C * s.pixels();
        float *out = c1 + image * F * s.pixels();
        Rows a(A, height + 2, width);
        Moments found;
        for (int p = 0; p < A; ++p)
            for (long y = 0; y < height; ++y)
                std::memcpy(a.at(p, y + 1) + 1, own + p * s.pixels() + y * width, width * sizeof(float));
        for (long y = 0; y < height; ++y) {
            const float *rows[A][3];
            for (int p = 0; p < A; ++p)
                for (int v = 0; v < 3; ++v) rows[p][v] = a.at(p, y + v);
            for (long at = 0; at < width; at += 2 * LANES) {
                lanes one[F][2];
                for (int f = 0; f < F; ++f) one[f][0] = one[f][1] = all(b1[f]);
                conv<A, F>(rows, at, w1, one);
                if (!y && !at)
                    for (int f = 0; f < F; ++f) found.reference[f] = one[f][0][0];
                for (int half = 0; half < 2; ++half)
                    for (int f = 0; f < F; ++f) {
                        long place = at + half * LANES, left = width - place;
                        if (left <= 0) break;
                        store(out + f * s.pixels() + y * width + place, one[f][half], left);
                        found.add(f, one[f][half], left);
                    }
            }
            found.end_row();
        }
        found.write(moments + image * 2 * F, s.pixels());
    });
}

// Hidden values of the first layer: n1 = c1 · scale + shift, before the ReLU.
static inline void first_norm(const float *c1, long pixels, long at, long left, const float *scale, const float *shift,
                              lanes (&n1)[F]) {
    for (int f = 0; f < F; ++f) n1[f] = load(c1 + f * pixels + at, left) * scale[f] + shift[f];
}

static inline void through_relu(const lanes (&in)[F], lanes (&out)[F]) {
    for (int f = 0; f < F; ++f) out[f] = relu(in[f]);
}

// Moments of the second convolution, (B, 2, F), of which nothing else is kept.
void train_second(const float *c1, const float *scale1, const float *shift1, const float *w2, const float *b2,
                  double *moments, long batch, long height, long width, long threads) {
    Shape s{batch, height, width, threads};
    each(batch, threads, [&](long image) {
        const float *own = c1 + image * F * s.pixels();
        Moments found;
        for (long at = 0; at < s.pixels(); at += LANES) {
            lanes n1[F], h1[F], c2[F];
            long left = s.pixels() - at;
            first_norm(own, s.pixels(), at, left, scale1, shift1, n1);
            through_relu(n1, h1);
            pointwise(h1, w2, b2, c2);
            if (!at)
                for (int f = 0; f < F; ++f) found.reference[f] = c2[f][0];
            for (int f = 0; f < F; ++f) found.add(f, c2[f], left);
            if (at / LANES % 64 == 63) found.end_row();
        }
        found.end_row();
        found.write(moments + image * 2 * F, s.pixels());
    });
}

// ReLU of the second norm into a padded image; w2 and b2 hold that norm.
static void second_hidden(const Shape &s, const float *c1, const float *scale1, const float *shift1, const float *w2,
                          const float *b2, Rows &h2) {
    for (long y = 0; y < s.height; ++y)
        for (long at = 0; at < s.width; at += LANES) {
            lanes n1[F], h1[F], n2[F];
            long left = s.width - at;
            first_norm(c1, s.pixels(), y * s.width + at, left, scale1, shift1, n1);
            through_relu(n1, h1);
            pointwise(h1, w2, b2, n2);
            for (int f = 0; f < F; ++f) store(h2.at(f, y + 1) + 1 + at, first(relu(n2[f]), left));
        }
}

// z, tanh of the raw log scale (B, N, H, W), and log-dets (B,).
void train_last(const float *x, const float *c1, const float *scale1, const float *shift1, const float *w2,
                const float *b2, const float *w3, const float *border, float bound, float *z, float *squashed,
                float *log_dets, long batch, long height, long width, long threads) {
    Shape s{batch, height, width, threads};
    Last last{w3, border, bound};
    each(batch, threads, [&](long image) {
        const float *own = x + image * C * s.pixels();
        float *out = z + image * C * s.pixels();
        Rows h2(F, height + 2, width);
        second_hidden(s, c1 + image * F * s.pixels(), scale1, shift1, w2, b2, h2);
        double log_det = 0;
        for (long y = 0; y < height; ++y) {
            const float *hidden[F][3];
            for (int f = 0; f < F; ++f)
                for (int v = 0; v < 3; ++v) hidden[f][v] = h2.at(f, y + v);
            couple_row(s, last, hidden, own, out, squashed + image * N * s.pixels(), y, false, &log_det);
        }
        std::memcpy(out, own, A * s.pixels() * sizeof(float));
        log_dets[image] = log_det;
    });
}

// Gradient at the second norm's output, (B, F, H, W), and of the planes that were transformed, into of_x.
// Sums of each image: weight (F, 3, 3, O), border (rows, O, W), bound, gradient (F), gradient · value (F).
void back_last(const float *of_z, const float *of_log_det, const float *x, const float *squashed, const float *c1,
               const float *scale1, const float *shift1, const float *w2, const float *b2, const float *mirrored3,
               float bound, float *of_x, float *of_n2, float *of_w3, float *of_border, double *of_bound, double *sums,
               long batch, long height, long width, long threads) {
    Shape s{batch, height, width, threads};
    long border_rows = std::min(height, 3L);
    each(batch, threads, [&](long image) {
        const long start = image * C * s.pixels();
        Rows h2(F, height + 2, width), of_out(O, height + 2, width);
        second_hidden(s, c1 + image * F * s.pixels(), scale1, shift1, w2, b2, h2);
        float *border = of_border + image * border_rows * O * width;
        std::fill(border, border + border_rows * O * width, 0.0f);
        double total_bound = 0;
        for (long y = 0; y < height; ++y) {
            lanes row_bound = {};
            for (long at = 0; at < width; at += LANES) {
                long left = width - at, place = y * width + at;
                for (int p = 0; p < N; ++p) {
                    long offset = start + (A + p) * s.pixels() + place;
                    lanes t = load(squashed + (image * N + p) * s.pixels() + place, left);
                    lanes of = load(of_z + offset, left), grown = of * exp(bound * t);
                    lanes of_scale = first(grown * load(x + offset, left) + of_log_det[image], left);
                    store(of_x + offset, grown, left);
                    row_bound += of_scale * t;
                    lanes of_raw = of_scale * bound * (1.0f - t * t);
                    store(of_out.at(p, y + 1) + 1 + at, of);
                    store(of_out.at(N + p, y + 1) + 1 + at, of_raw);
                    float *to = border + (s.border_row(y) * O + p) * width + at;
                    store(to, load(to, left) + of, left);
                    store(to + N * width, load(to + N * width, left) + of_raw, left);
                }
            }
            total_bound += sum(row_bound);
        }
        of_bound[image] = total_bound;
        double *total = sums + image * 2 * F;
        std::fill(total, total + 2 * F, 0.0);
        for (long y = 0; y < height; ++y) {
            const float *rows[O][3];
            for (int o = 0; o < O; ++o)
                for (int v = 0; v < 3; ++v) rows[o][v] = of_out.at(o, y + v);
            lanes plain[F] = {}, weighted[F] = {};
            for (long at = 0; at < width; at += 2 * LANES) {
                lanes of_hidden[F][2] = {};
                conv<O, F>(rows, at, mirrored3, of_hidden);
                for (int half = 0; half < 2; ++half)
                    for (int f = 0; f < F; ++f) {
                        long place = at + half * LANES, left = width - place;
                        if (left <= 0) break;
                        lanes value = load(h2.at(f, y + 1) + 1 + place);
                        lanes of = value > 0.0f ? of_hidden[f][half] : lanes{};
                        store(of_n2 + (image * F + f) * s.pixels() + y * width + place, of, left);
                        plain[f] += first(of, left), weighted[f] += first(of * value, left);
                    }
            }
            for (int f = 0; f < F; ++f) total[f] += sum(plain[f]), total[F + f] += sum(weighted[f]);
        }
        conv_of_weight<F, O>(h2, of_out, height, width, of_w3 + image * F * 9 * O);
    });
}

// Gradient at the first norm's output, in place of that at the second's.  `mean` and `slope` (F) are the means of
// gradient and gradient · value there; scale2 is 1/σ of the second norm.  Sums of each image: weight (F, F), and
// gradient (F), gradient · value (F) at the first norm.
void back_second(const float *c1, const float *scale1, const float *shift1, const float *w2, const float *b2,
                 const float *plain_w2, const float *scale2, const float *mean, const float *slope, float *of_n,
                 float *of_w2, double *sums, long batch, long height, long width, long threads) {
    Shape s{batch, height, width, threads};
    each(batch, threads, [&](long image) {
        const float *own = c1 + image * F * s.pixels();
        float *of = of_n + image * F * s.pixels();
        double *total = sums + image * 2 * F;
        std::fill(total, total + 2 * F, 0.0);
        std::vector<double> weights(F * F);
        for (long from = 0; from < s.pixels(); from += 64 * LANES) {
            lanes of_weight[F][F] = {}, plain[F] = {}, weighted[F] = {};
            for (long at = from; at < std::min(from + 64 * LANES, s.pixels()); at += LANES) {
                lanes n1[F], h1[F], n2[F], of_c2[F];
                long left = s.pixels() - at;
                first_norm(own, s.pixels(), at, left, scale1, shift1, n1);
                through_relu(n1, h1);
                pointwise(h1, w2, b2, n2);
                for (int o = 0; o < F; ++o) {
                    lanes given = load(of + o * s.pixels() + at, left);
                    of_c2[o] = first(scale2[o] * (given - mean[o] - n2[o] * slope[o]), left);
                }
                for (int i = 0; i < F; ++i) {
                    lanes of_h1 = {};
                    for (int o = 0; o < F; ++o) {
                        of_h1 += plain_w2[i * F + o] * of_c2[o];
                        of_weight[i][o] += h1[i] * of_c2[o];
                    }
                    lanes of_n1 = n1[i] > 0.0f ? of_h1 : lanes{};
                    store(of + i * s.pixels() + at, of_n1, left);
                    plain[i] += of_n1, weighted[i] += of_n1 * n1[i];
                }
            }
            for (int i = 0; i < F; ++i) {
                total[i] += sum(plain[i]), total[F + i] += sum(weighted[i]);
                for (int o = 0; o < F; ++o) weights[i * F + o] += sum(of_weight[i][o]);
            }
        }
        for (int i = 0; i < F * F; ++i) of_w2[image * F * F + i] = weights[i];
    });
}

// Gradient of the planes that condition, into of_x; sums of each image: weight (A, 3, 3, F).
void back_first(const float *of_z, const float *x, const float *c1, const float *scale1, const float *shift1,
                const float *mean, const float *slope, const float *mirrored1, const float *of_n1, float *of_x,
                float *of_w1, long batch, long height, long width, long threads) {
    Shape s{batch, height, width, threads};
    each(batch, threads, [&](long image) {
        Rows a(A, height + 2, width), of_c1(F, height + 2, width);
        for (long y = 0; y < height; ++y) {
            for (int p = 0; p < A; ++p)
                std::memcpy(a.at(p, y + 1) + 1, x + (image * C + p) * s.pixels() + y * width, width * sizeof(float));
            for (long at = 0; at < width; at += LANES) {
                long left = width - at, place = y * width + at;
                lanes n1[F];
                first_norm(c1 + image * F * s.pixels(), s.pixels(), place, left, scale1, shift1, n1);
                for (int f = 0; f < F; ++f) {
                    lanes of = load(of_n1 + (image * F + f) * s.pixels() + place, left);
                    store(of_c1.at(f, y + 1) + 1 + at, first(scale1[f] * (of - mean[f] - n1[f] * slope[f]), left));
                }
            }
        }
        for (long y = 0; y < height; ++y) {
            const float *rows[F][3];
            for (int f = 0; f < F; ++f)
                for (int v = 0; v < 3; ++v) rows[f][v] = of_c1.at(f, y + v);
            for (long at = 0; at < width; at += 2 * LANES) {
                lanes of_a[A][2] = {};
                conv<F, A>(rows, at, mirrored1, of_a);
                for (int half = 0; half < 2; ++half)
                    for (int p = 0; p < A; ++p) {
                        long place = at + half * LANES, left = width - place;
                        if (left <= 0) break;
                        long offset = (image * C + p) * s.pixels() + y * width + place;
                        store(of_x + offset, load(of_z + offset, left) + of_a[p][half], left);
                    }
            }
        }
        conv_of_weight<A, F>(a, of_c1, height, width, of_w1 + image * A * 9 * F);
    });
}
}

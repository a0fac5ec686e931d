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

// Rows of the same planes: those around row y of a padded image, and a row of a buffer from its first pixel on.
template <int COUNT> static void around(Rows &image, long y, const float *(&rows)[COUNT][3]) {
    for (int p = 0; p < COUNT; ++p)
        for (int v = 0; v < 3; ++v) rows[p][v] = image.at(p, y + v);
}
template <int COUNT, class Float> static void row_of(Rows &buffer, long y, Float *(&row)[COUNT], int from = 0) {
    for (int p = 0; p < COUNT; ++p) row[p] = buffer.at(from + p, y) + 1;
}

// Of a row of a tensor, zeros beyond its end.
static inline lanes from(const float *row, long at, long width) { return at < width ? load(row + at, width - at) : lanes{}; }

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
        Rows a(A, height + 2, width), work(2 * F, 1, width);
        const float *rows[A][3], *start[F];
        float *sums[F];
        row_of(work, 0, start, F), row_of(work, 0, sums);
        for (int f = 0; f < F; ++f) std::fill_n(work.at(F + f, 0) + 1, width, b1[f]);
        Moments found;
        for (int p = 0; p < A; ++p)
            for (long y = 0; y < height; ++y)
                std::memcpy(a.at(p, y + 1) + 1, own + p * s.pixels() + y * width, width * sizeof(float));
        for (long y = 0; y < height; ++y) {
            around(a, y, rows);
            conv_row(rows, width, w1, start, sums);
            if (!y)
                for (int f = 0; f < F; ++f) found.reference[f] = *sums[f];
            for (int f = 0; f < F; ++f)
                for (long at = 0; at < width; at += LANES) {
                    lanes value = load(sums[f] + at);
                    store(out + f * s.pixels() + y * width + at, value, width - at);
                    found.add(f, value, width - at);
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
    Rows borders(O, std::min(height, 3L), width);
    for (long y = 0; y < std::min(height, 3L); ++y)
        for (int o = 0; o < O; ++o) std::memcpy(borders.at(o, y) + 1, border + (y * O + o) * width, width * sizeof(float));
    each(batch, threads, [&](long image) {
        const float *own = x + image * C * s.pixels();
        float *out = z + image * C * s.pixels();
        Rows h2(F, height + 2, width), work(O + N, 1, width);
        second_hidden(s, c1 + image * F * s.pixels(), scale1, shift1, w2, b2, h2);
        const float *rows[F][3], *start[O];
        float *sums[O], *raw[N], *factor[N];
        row_of(work, 0, sums), row_of(work, 0, raw, N), row_of(work, 0, factor, O);
        double log_det = 0;
        for (long y = 0; y < height; ++y) {
            around(h2, y, rows);
            row_of(borders, s.border_row(y), start);
            conv_row(rows, width, w3, start, sums);
            scale_row(raw, factor, bound, false, width);
            lanes total = {};
            for (int p = 0; p < N; ++p)
                for (long at = 0; at < width; at += LANES) {
                    long left = width - at, place = p * s.pixels() + y * width + at;
                    lanes t = load(raw[p] + at), b = load(own + A * s.pixels() + place, left);
                    store(out + A * s.pixels() + place, b * load(factor[p] + at) + load(sums[p] + at), left);
                    store(squashed + image * N * s.pixels() + place, t, left);
                    total += first(t, left);
                }
            log_det += bound * sum(total);
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
        Rows h2(F, height + 2, width), of_out(O, height + 2, width), work(F + N, 1, width);
        second_hidden(s, c1 + image * F * s.pixels(), scale1, shift1, w2, b2, h2);
        const float *rows[O][3], *zeros[F];
        float *of_hidden[F], *factor[N];
        row_of(work, 0, of_hidden), row_of(work, 0, factor, F);
        for (int f = 0; f < F; ++f) zeros[f] = of_out.at(0, 0) + 1;
        float *border = of_border + image * border_rows * O * width;
        std::fill(border, border + border_rows * O * width, 0.0f);
        double total_bound = 0;
        for (long y = 0; y < height; ++y) {
            lanes row_bound = {};
            for (int p = 0; p < N; ++p) {
                const float *turned = squashed + (image * N + p) * s.pixels() + y * width;
                const long offset = start + (A + p) * s.pixels() + y * width;
                in_blocks(width, [&](long at, auto vectors) INLINE {
                    constexpr int V = decltype(vectors)::value;
                    lanes power[V];
                    few<V>([&](int k) INLINE { power[k] = from(turned, at + k * LANES, width) * (bound * LOG2_E); });
                    exp2(power);
                    few<V>([&](int k) INLINE { store(factor[p] + at + k * LANES, power[k]); });
                });
                float *of_shift = of_out.at(p, y + 1) + 1, *of_raw = of_out.at(N + p, y + 1) + 1;
                float *border_shift = border + (s.border_row(y) * O + p) * width, *border_raw = border_shift + N * width;
                for (long at = 0; at < width; at += LANES) {
                    long left = width - at;
                    lanes t = load(turned + at, left), of = load(of_z + offset + at, left), grown = of * load(factor[p] + at);
                    lanes of_scale = first(grown * load(x + offset + at, left) + of_log_det[image], left);
                    lanes raw = of_scale * bound * (1.0f - t * t);
                    store(of_x + offset + at, grown, left);
                    row_bound += of_scale * t;
                    store(of_shift + at, of), store(of_raw + at, raw);
                    store(border_shift + at, load(border_shift + at, left) + of, left);
                    store(border_raw + at, load(border_raw + at, left) + raw, left);
                }
            }
            total_bound += sum(row_bound);
        }
        of_bound[image] = total_bound;
        double *total = sums + image * 2 * F;
        std::fill(total, total + 2 * F, 0.0);
        for (long y = 0; y < height; ++y) {
            around(of_out, y, rows);
            conv_row(rows, width, mirrored3, zeros, of_hidden);
            for (int f = 0; f < F; ++f) {
                lanes plain = {}, weighted = {};
                const float *hidden = h2.at(f, y + 1) + 1;
                float *to = of_n2 + (image * F + f) * s.pixels() + y * width;
                for (long at = 0; at < width; at += LANES) {
                    long left = width - at;
                    lanes value = load(hidden + at), of = value > 0.0f ? load(of_hidden[f] + at) : lanes{};
                    store(to + at, of, left);
                    plain += first(of, left), weighted += first(of * value, left);
                }
                total[f] += sum(plain), total[F + f] += sum(weighted);
            }
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
        Rows a(A, height + 2, width), of_c1(F, height + 2, width), work(A, 1, width);
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
        const float *rows[F][3], *zeros[A];
        float *of_a[A];
        row_of(work, 0, of_a);
        for (int p = 0; p < A; ++p) zeros[p] = of_c1.at(0, 0) + 1;
        for (long y = 0; y < height; ++y) {
            around(of_c1, y, rows);
            conv_row(rows, width, mirrored1, zeros, of_a);
            for (int p = 0; p < A; ++p)
                for (long at = 0; at < width; at += LANES) {
                    long left = width - at, offset = (image * C + p) * s.pixels() + y * width + at;
                    store(of_x + offset, load(of_z + offset, left) + load(of_a[p] + at), left);
                }
        }
        conv_of_weight<A, F>(a, of_c1, height, width, of_w1 + image * A * 9 * F);
    });
}
}

// Noise Flow's affine coupling in training, in as few passes as batch norms allow.

#include "coupling_training.h"

// For each image and plane: a reference value, and the sum and sum of squares of the differences from it.
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

// First convolution, c1 (B, F, H, W), with its mean and sum of squared deviations, (B, 2, F).
static void first_pass(const Shape &s, const float *x, const Folded &folded, const float *b1, float *c1, double *moments) {
    const long height = s.height, width = s.width;
    each(s.batch, s.threads, [&](long image) {
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
            conv_row(rows, width, folded.w1, start, sums);
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

// Moments of the second convolution, (B, 2, F); its values are not kept.
static void second_pass(const Shape &s, const float *c1, const Folded &folded, const float *b2, double *moments) {
    each(s.batch, s.threads, [&](long image) {
        const float *own = c1 + image * F * s.pixels();
        Moments found;
        for (long at = 0; at < s.pixels(); at += LANES) {
            lanes n1[F], h1[F], c2[F];
            long left = s.pixels() - at;
            first_norm(own, s.pixels(), at, left, folded.scale1, folded.shift1, n1);
            through_relu(n1, h1);
            pointwise(h1, folded.w2, b2, c2);
            if (!at)
                for (int f = 0; f < F; ++f) found.reference[f] = c2[f][0];
            for (int f = 0; f < F; ++f) found.add(f, c2[f], left);
            if (at / LANES % 64 == 63) found.end_row();
        }
        found.end_row();
        found.write(moments + image * 2 * F, s.pixels());
    });
}

// z, tanh of the raw log scale (B, N, H, W), and log-dets (B,).
static void last_pass(const Shape &s, const float *x, const float *c1, const Folded &folded, float bound, float *z,
                      float *squashed, float *log_dets) {
    const long height = s.height, width = s.width;
    Rows starts(O, 3, width);
    for (int o = 0; o < O; ++o)
        for (int kind = 0; kind < 3; ++kind)
            for (long column = 0; column < width; ++column) {
                float total = folded.b3[o];
                for (int v = 0; v < 3; ++v)
                    for (int u = 0; u < 3; ++u)
                        if (beyond(v, u, kind, column, height, width)) total += folded.edge[(v * 3 + u) * O + o];
                starts.at(o, kind)[1 + column] = total;
            }
    each(s.batch, s.threads, [&](long image) {
        const float *own = x + image * C * s.pixels();
        float *out = z + image * C * s.pixels();
        Rows h2(F, height + 2, width), work(O + N, 1, width);
        second_hidden(s, c1 + image * F * s.pixels(), folded, h2);
        const float *rows[F][3], *start[O];
        float *sums[O], *raw[N], *factor[N];
        row_of(work, 0, sums), row_of(work, 0, raw, N), row_of(work, 0, factor, O);
        double log_det = 0;
        for (long y = 0; y < height; ++y) {
            around(h2, y, rows);
            row_of(starts, s.kind(y), start);
            conv_row(rows, width, folded.w3, start, sums);
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


// Mean and variance of the batch from those of its elements, by Chan's rule.
static void pooled(const std::vector<double> &moments, const Shape &s, float eps, float *mean, float *variance, float *scale) {
    for (int f = 0; f < F; ++f) {
        double average = 0, square = 0;
        for (long b = 0; b < s.batch; ++b) average += moments[b * 2 * F + f] / s.batch;
        for (long b = 0; b < s.batch; ++b) {
            double apart = moments[b * 2 * F + f] - average;
            square += moments[b * 2 * F + F + f] + s.pixels() * apart * apart;
        }
        square /= double(s.batch) * s.pixels();
        mean[f] = average, variance[f] = square, scale[f] = 1 / std::sqrt(square + eps);
    }
}

// z, log-dets (B,); for backward c1 (B, F, H, W), tanh of raw log scales (B, N, H, W) and `Folded`; and mean and variance
// of both norms, (4, F).
KERNEL(forward, const float *x, const float *w1, const float *b1, const float *w2, const float *b2, const float *w3,
             const float *b3, const float *logs, float bound, float eps, float *z, float *log_dets, float *c1,
             float *squashed, float *to_folded, float *statistics, long batch, long height, long width, long threads) {
    Shape s{batch, height, width, threads};
    Folded &folded = *reinterpret_cast<Folded *>(to_folded);
    for (int tap = 0; tap < 9; ++tap) {
        for (int f = 0; f < F; ++f)
            for (int a = 0; a < A; ++a) folded.w1[(a * 9 + tap) * F + f] = w1[(f * A + a) * 9 + tap];
        for (int o = 0; o < O; ++o) {
            float grown = std::exp(3 * logs[o]);
            for (int f = 0; f < F; ++f) folded.w3[(f * 9 + tap) * O + o] = w3[(o * (F + 1) + f) * 9 + tap] * grown;
            folded.edge[tap * O + o] = w3[(o * (F + 1) + F) * 9 + tap] * grown;
            folded.b3[o] = b3[o] * grown;
        }
    }
    std::vector<double> moments(batch * 2 * F);
    float *mean1 = statistics, *mean2 = statistics + 2 * F;
    first_pass(s, x, folded, b1, c1, moments.data());
    pooled(moments, s, eps, mean1, mean1 + F, folded.scale1);
    for (int i = 0; i < F; ++i) {
        folded.shift1[i] = -mean1[i] * folded.scale1[i];
        for (int o = 0; o < F; ++o) folded.w2[i * F + o] = w2[o * F + i];
    }
    second_pass(s, c1, folded, b2, moments.data());
    pooled(moments, s, eps, mean2, mean2 + F, folded.scale2);
    for (int o = 0; o < F; ++o) {
        folded.bias2[o] = (b2[o] - mean2[o]) * folded.scale2[o];
        for (int i = 0; i < F; ++i) folded.whole2[i * F + o] = folded.w2[i * F + o] * folded.scale2[o];
    }
    last_pass(s, x, c1, folded, bound, z, squashed, log_dets);
}

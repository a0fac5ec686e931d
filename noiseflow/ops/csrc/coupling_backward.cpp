// Gradients of Noise Flow's affine coupling in training.

#include "coupling_training.h"

// Gradient at the output of the second norm, (B, F, H, W); the gradient of the transformed planes goes into of_x.
// Sums over each image: weight (F, 3, 3, O), border (3, O, W), bound, gradient (F), gradient · value (F).
static void last_back(const Shape &s, const float *of_z, const float *of_log_det, const float *x, const float *squashed,
                      const float *c1, const Folded &folded, const float *mirrored3, float bound, float *of_x,
                      float *of_n2, float *of_w3, float *of_border, double *of_bound, double *sums) {
    const long height = s.height, width = s.width;
    each(s.batch, s.threads, [&](long image) {
        const long start = image * C * s.pixels();
        Rows h2(F, height + 2, width), of_out(O, height + 2, width), work(F + N, 1, width);
        second_hidden(s, c1 + image * F * s.pixels(), folded, h2);
        const float *rows[O][3], *zeros[F];
        float *of_hidden[F], *factor[N];
        row_of(work, 0, of_hidden), row_of(work, 0, factor, F);
        for (int f = 0; f < F; ++f) zeros[f] = of_out.at(0, 0) + 1;
        float *border = of_border + image * 3 * O * width;
        std::fill(border, border + 3 * O * width, 0.0f);
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
                float *border_shift = border + (s.kind(y) * O + p) * width, *border_raw = border_shift + N * width;
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

// Replace the gradient at the output of the second norm by that at the output of the first.  `mean` and `slope` (F) are
// the means of gradient and gradient · value at the second norm.  Sums over each image: weight (F, F); and, at the first
// norm, gradient (F) and gradient · value (F).
static void second_back(const Shape &s, const float *c1, const Folded &folded, const float *mean, const float *slope,
                        float *of_n, float *of_w2, double *sums) {
    each(s.batch, s.threads, [&](long image) {
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
                first_norm(own, s.pixels(), at, left, folded.scale1, folded.shift1, n1);
                through_relu(n1, h1);
                pointwise(h1, folded.whole2, folded.bias2, n2);
                for (int o = 0; o < F; ++o) {
                    lanes given = load(of + o * s.pixels() + at, left);
                    of_c2[o] = first(folded.scale2[o] * (given - mean[o] - n2[o] * slope[o]), left);
                }
                for (int i = 0; i < F; ++i) {
                    lanes of_h1 = {};
                    for (int o = 0; o < F; ++o) {
                        of_h1 += folded.w2[i * F + o] * of_c2[o];
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

// Gradient of the conditioning planes, into of_x; sums over each image: weight (A, 3, 3, F).
static void first_back(const Shape &s, const float *of_z, const float *x, const float *c1, const Folded &folded,
                       const float *mean, const float *slope, const float *mirrored1, const float *of_n1, float *of_x,
                       float *of_w1) {
    const long height = s.height, width = s.width;
    each(s.batch, s.threads, [&](long image) {
        Rows a(A, height + 2, width), of_c1(F, height + 2, width), work(A, 1, width);
        for (long y = 0; y < height; ++y) {
            for (int p = 0; p < A; ++p)
                std::memcpy(a.at(p, y + 1) + 1, x + (image * C + p) * s.pixels() + y * width, width * sizeof(float));
            for (long at = 0; at < width; at += LANES) {
                long left = width - at, place = y * width + at;
                lanes n1[F];
                first_norm(c1 + image * F * s.pixels(), s.pixels(), place, left, folded.scale1, folded.shift1, n1);
                for (int f = 0; f < F; ++f) {
                    lanes of = load(of_n1 + (image * F + f) * s.pixels() + place, left);
                    store(of_c1.at(f, y + 1) + 1 + at, first(folded.scale1[f] * (of - mean[f] - n1[f] * slope[f]), left));
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

// Sum numbers, (B, count), over the batch.
template <class Number> static std::vector<double> total(const std::vector<Number> &of_elements, long count) {
    std::vector<double> sums(count);
    for (std::size_t i = 0; i < of_elements.size(); ++i) sums[i % count] += of_elements[i];
    return sums;
}

// Means over all pixels of gradient and gradient · value, (2, F).
static void means(const std::vector<double> &of_elements, const Shape &s, float (&found)[2 * F]) {
    std::vector<double> sums = total(of_elements, 2 * F);
    for (int i = 0; i < 2 * F; ++i) found[i] = sums[i] / (double(s.batch) * s.pixels());
}

// Gradients of x and of all parameters except the first two biases, which the norms cancel.
KERNEL(backward, const float *of_z, const float *of_log_det, const float *x, const float *c1, const float *squashed,
              const float *from_folded, const float *logs, float bound, float *of_x, float *of_w1, float *of_w2,
              float *of_w3, float *of_b3, float *of_logs, float *of_bound, long batch, long height, long width,
              long threads) {
    Shape s{batch, height, width, threads};
    const Folded &folded = *reinterpret_cast<const Folded *>(from_folded);
    // Weights of the transposed convolution: mirrored taps, outputs as inputs.
    float mirrored1[F * 9 * A], mirrored3[O * 9 * F];
    for (int tap = 0; tap < 9; ++tap)
        for (int f = 0; f < F; ++f) {
            for (int a = 0; a < A; ++a) mirrored1[(f * 9 + tap) * A + a] = folded.w1[(a * 9 + 8 - tap) * F + f];
            for (int o = 0; o < O; ++o) mirrored3[(o * 9 + tap) * F + f] = folded.w3[(f * 9 + 8 - tap) * O + o];
        }
    std::unique_ptr<float[]> of_n(new float[batch * F * s.pixels()]);
    std::vector<float> weights3(batch * F * 9 * O), borders(batch * 3 * O * width), weights2(batch * F * F), weights1(batch * A * 9 * F);
    std::vector<double> bounds(batch), sums(batch * 2 * F);
    float found[2 * F];
    last_back(s, of_z, of_log_det, x, squashed, c1, folded, mirrored3, bound, of_x, of_n.get(), weights3.data(),
              borders.data(), bounds.data(), sums.data());
    means(sums, s, found);
    second_back(s, c1, folded, found, found + F, of_n.get(), weights2.data(), sums.data());
    means(sums, s, found);
    first_back(s, of_z, x, c1, folded, found, found + F, mirrored1, of_n.get(), of_x, weights1.data());

    std::vector<double> sums1 = total(weights1, A * 9 * F), sums2 = total(weights2, F * F);
    for (int f = 0; f < F; ++f) {
        for (int a = 0; a < A; ++a)
            for (int tap = 0; tap < 9; ++tap) of_w1[(f * A + a) * 9 + tap] = sums1[(a * 9 + tap) * F + f];
        for (int i = 0; i < F; ++i) of_w2[f * F + i] = sums2[i * F + f];
    }
    // The border channel adds, at each pixel, the sum of its taps beyond the border.
    std::vector<double> sums3 = total(weights3, F * 9 * O), at_border = total(borders, 3 * O * width);
    for (int o = 0; o < O; ++o) {
        double of_bias = 0, of_edge[9] = {};
        for (int kind = 0; kind < 3; ++kind)
            for (long column = 0; column < width; ++column) {
                double of = at_border[(kind * O + o) * width + column];
                of_bias += of;
                for (int tap = 0; tap < 9; ++tap)
                    if (beyond(tap / 3, tap % 3, kind, column, height, width)) of_edge[tap] += of;
            }
        double grown = std::exp(3 * double(logs[o])), by_scale = of_bias * folded.b3[o];
        for (int tap = 0; tap < 9; ++tap) {
            for (int f = 0; f < F; ++f) {
                int at = (f * 9 + tap) * O + o;
                of_w3[(o * (F + 1) + f) * 9 + tap] = sums3[at] * grown;
                by_scale += sums3[at] * folded.w3[at];
            }
            of_w3[(o * (F + 1) + F) * 9 + tap] = of_edge[tap] * grown;
            by_scale += of_edge[tap] * folded.edge[tap * O + o];
        }
        of_b3[o] = of_bias * grown, of_logs[o] = 3 * by_scale;
    }
    *of_bound = total(bounds, 1)[0];
}

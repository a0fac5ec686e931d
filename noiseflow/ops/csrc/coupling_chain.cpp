// The couplings of Noise Flow and the plane mixings between them, in one pass over the rows, with running statistics.
//
// A row goes through all layers while it is in the cache: each layer is two rows behind the layer before it and holds
// three rows of its planes and of its hidden values.  Tensors are (B, C, H, W), contiguous.

#include "coupling.h"
#include "noise_parameters.h"

// Parameters of each coupling, in this order: w1 (A, 3, 3, F), b1 (F), w2 (F, F), b2 (F), w3 (F, 3, 3, O), what the
// border channel adds (3, 3, O), b3 (O), bound.  They include the norms.
struct Layer {
    const float *w1, *b1, *w2, *b2, *w3, *edge, *b3, *mix;
    float bound;
    Rows start1, start3;
    static constexpr long SIZE = A * 9 * F + F + F * F + F + F * 9 * O + 9 * O + O + 1;

    Layer(const float *from, const float *mix, long height, long width)
        : w1(from), b1(w1 + A * 9 * F), w2(b1 + F), b2(w2 + F * F), w3(b2 + F), edge(w3 + F * 9 * O), b3(edge + 9 * O),
          mix(mix), bound(b3[O]), start1(F, 1, width), start3(O, 3, width) {
        for (int f = 0; f < F; ++f) std::fill_n(start1.at(f, 0) + 1, width, b1[f]);
        for (int o = 0; o < O; ++o)
            for (int kind = 0; kind < 3; ++kind)
                for (long x = 0; x < width; ++x) start3.at(o, kind)[1 + x] = b3[o] + beyond(o, kind, x, height, width);
    }

  private:
    // Taps beyond the border: for the first row (kind 0), a middle row (1) and the last row (2).
    float beyond(int o, int kind, long x, long height, long width) const {
        float total = 0;
        for (int v = 0; v < 3; ++v)
            for (int u = 0; u < 3; ++u) {
                bool row = (v == 0 && kind == 0) || (v == 2 && (kind == 2 || height == 1));
                bool column = (u == 0 && x == 0) || (u == 2 && x == width - 1);
                if (row || column) total += edge[(v * 3 + u) * O + o];
            }
        return total;
    }
};

static inline void mix_planes(const float *weight, const lanes (&in)[C], lanes (&out)[C]) {
    for (int o = 0; o < C; ++o) out[o] = weight[o] * in[0];
    for (int i = 1; i < C; ++i)
        for (int o = 0; o < C; ++o) out[o] += weight[i * C + o] * in[i];
}

static void mix_row(const float *weight, const float *const (&from)[C], long width, float *const (&to)[C]) {
    for (long at = 0; at < width; at += LANES) {
        lanes in[C], out[C];
        for (int p = 0; p < C; ++p) in[p] = load(from[p] + at, width - at);
        mix_planes(weight, in, out);
        for (int p = 0; p < C; ++p) store(to[p] + at, first(out[p], width - at));
    }
}

// Second hidden values, from the sums of the first convolution.
static void hide_row(const Layer &layer, const float *const (&one)[F], long width, float *const (&to)[F]) {
    for (long at = 0; at < width; at += LANES) {
        lanes h[F], second[F];
        for (int f = 0; f < F; ++f) h[f] = relu(load(one[f] + at));
        pointwise(h, layer.w2, layer.b2, second);
        for (int f = 0; f < F; ++f) store(to[f] + at, first(relu(second[f]), width - at));
    }
}

// Scale and shift planes, then mix them; store whole vectors except in the last layer.
static void couple_row(const float *mix, const float *const (&shift)[N], const float *const (&factor)[N],
                       const float *const (&in)[C], long width, bool inverse, bool last, float *const (&to)[C]) {
    for (long at = 0; at < width; at += LANES) {
        long left = width - at;
        lanes value[C], out[C];
        for (int p = 0; p < C; ++p) value[p] = load(in[p] + at);
        for (int p = 0; p < N; ++p) {
            lanes &b = value[A + p], by = load(shift[p] + at), grown = load(factor[p] + at);
            b = inverse ? (b - by) * grown : b * grown + by;
        }
        if (mix) mix_planes(mix, value, out);
        else std::copy(value, value + C, out);
        for (int p = 0; p < C; ++p) store(to[p] + at, first(out[p], left), last ? left : LANES);
    }
}

// Three rows of the planes and of the hidden values of a layer: row y is in slot y mod 3.
struct Window {
    Rows planes, hidden;
    explicit Window(long width) : planes(C, 3, width), hidden(F, 3, width) {}

    static long slot(long y) { return (y + 3) % 3; }
    template <int COUNT> static void clear(Rows &rows, long y) {
        for (int p = 0; p < COUNT; ++p) std::fill_n(rows.at(p, slot(y)), rows.pitch, 0.0f);
    }
    template <int COUNT> static void around(Rows &rows, long y, const float *(&found)[COUNT][3]) {
        for (int p = 0; p < COUNT; ++p)
            for (int v = 0; v < 3; ++v) found[p][v] = rows.at(p, slot(y + v - 1));
    }
};

struct Chain {
    std::vector<Layer> layers;
    const float *first_mix;
    bool inverse;
    long height, width;

    // Final factor of an image: the standard deviation from clean signal, β₁ and β₂ (C).
    struct Scale {
        const float *clean, *beta1, *beta2;
    };

    // Compute rows `from` to `to` − 1 of an image, and the rows around them on which they depend.
    void pass(const float *x, const Scale *scale, float *z, double *log_dets, long from, long to,
              std::vector<Window> &windows, Rows &work) const {
        const long count = layers.size(), start = std::max(from - 2 * count, 0L);
        for (long now = start; now < to + 2 * count; ++now) {
            if (now < height) enter(x + now * width, windows[0], now);
            for (long l = 0; l < count; ++l) {
                long y = now - 2 * l, out = y - 2;
                if (y < (start ? start + 2 * l : 0)) break;
                if (y > height + 1) continue;
                arrive(layers[l], windows[l], work, y);
                bool last = l == count - 1, asked = out >= from && out < to;
                if (last ? !asked : out < 0) continue;
                Rows *next = last ? nullptr : &windows[l + 1].planes;
                float *to_planes = last ? z + out * width : next->at(0, Window::slot(out)) + 1;
                leave(layers[l], windows[l], work, out, last, to_planes, last ? height * width : 3 * next->pitch);
                if (last && scale) scale_up(*scale, out, z);
                if (log_dets && asked) log_dets[out] += layers[l].bound * squashed(work);
            }
        }
    }

    void enter(const float *x, Window &window, long y) const {
        const float *from[C];
        float *to[C];
        for (int p = 0; p < C; ++p) from[p] = x + p * height * width, to[p] = window.planes.at(p, Window::slot(y)) + 1;
        if (first_mix) mix_row(first_mix, from, width, to);
        else
            for (int p = 0; p < C; ++p) std::memcpy(to[p], from[p], width * sizeof(float));
    }

    // Row y of the planes goes with row y − 1 of the hidden values; rows beyond the last are zero.
    void arrive(const Layer &layer, Window &own, Rows &work, long y) const {
        if (y == 0) Window::clear<A>(own.planes, -1), Window::clear<F>(own.hidden, -1);
        if (y == height) Window::clear<A>(own.planes, y);
        if (y > height) Window::clear<F>(own.hidden, y - 1);
        if (y == 0 || y > height) return;
        const float *rows[A][3], *start[F], *one[F];
        float *sums[F], *to[F];
        Window::around(own.planes, y - 1, rows);
        for (int f = 0; f < F; ++f) {
            start[f] = layer.start1.at(f, 0) + 1, one[f] = sums[f] = work.at(f, 0) + 1;
            to[f] = own.hidden.at(f, Window::slot(y - 1)) + 1;
        }
        conv_row(rows, width, layer.w1, start, sums);
        hide_row(layer, one, width, to);
    }

    // Row y of the output, with this many floats between planes; the tanh of the log scales stays in `work`.
    void leave(const Layer &layer, Window &own, Rows &work, long y, bool last, float *planes, long apart) const {
        const float *rows[F][3], *start[O], *in[C], *shift[N], *factor[N];
        float *sums[O], *raw[N], *factors[N], *to[C];
        Window::around(own.hidden, y, rows);
        for (int o = 0; o < O; ++o) {
            start[o] = layer.start3.at(o, y == 0 ? 0 : y == height - 1 ? 2 : 1) + 1, sums[o] = work.at(o, 0) + 1;
        }
        for (int p = 0; p < N; ++p) {
            shift[p] = sums[p], raw[p] = sums[N + p], factor[p] = factors[p] = work.at(O + p, 0) + 1;
        }
        for (int p = 0; p < C; ++p) in[p] = own.planes.at(p, Window::slot(y)) + 1, to[p] = planes + p * apart;
        conv_row(rows, width, layer.w3, start, sums);
        scale_row(raw, factors, layer.bound, inverse, width);
        couple_row(layer.mix, shift, factor, in, width, inverse, last, to);
    }

    void scale_up(const Scale &scale, long y, float *z) const {
        for (long p = 0; p < C; ++p)
            for (long x = 0; x < width; x += LANES) {
                long place = (p * height + y) * width + x, left = width - x;
                NoiseParameters light(load(scale.clean + place, left), scale.beta1[p], scale.beta2[p]);
                store(z + place, load(z + place, left) * sqrt(light.variance), left);
            }
    }

    // Sum of the tanh of the raw log scales.
    double squashed(const Rows &work) const {
        lanes total = {};
        for (int p = 0; p < N; ++p)
            for (long at = 0; at < width; at += LANES) total += first(load(work.at(N + p, 0) + 1 + at), width - at);
        return sum(total);
    }
};

// Compute z and, if `log_dets` is given, add the log-det of the couplings for each row, (B, H), to it.  `mixes`, if given,
// is (layers + 1, in, out): one before the first coupling (used if `mixes_first`) and one after each.  With a clean signal, (B, C, H, W),
// and β₁ and β₂, (B, C), the result is multiplied by the standard deviation of shot and read noise.  If there is one band
// of rows, z may be x.
KERNEL(evaluate, const float *x, const float *parameters, const float *mixes, long mixes_first, long layers, long inverse,
              const float *clean, const float *beta1, const float *beta2, float *z, double *log_dets, long bands,
              long batch, long height, long width, long threads) {
    Chain chain{{}, mixes && mixes_first ? mixes : nullptr, inverse != 0, height, width};
    for (long l = 0; l < layers; ++l)
        chain.layers.emplace_back(parameters + l * Layer::SIZE, mixes ? mixes + (l + 1) * C * C : nullptr, height, width);
    const long group = std::max(batch / (16 * threads), 1L), groups = (batch + group - 1) / group, size = C * height * width;
    each(groups * bands, threads, [&](long unit) {
        std::vector<Window> windows;
        for (long l = 0; l < layers; ++l) windows.emplace_back(width);
        Rows work(std::max(F, O + N), 1, width);
        const long band = unit % bands, from = height * band / bands, to = height * (band + 1) / bands;
        const long begin = unit / bands * group, end = std::min(begin + group, batch);
        for (long image = begin; image < end; ++image) {
            double *own = log_dets ? log_dets + image * height : nullptr;
            Chain::Scale scale{clean + image * size, beta1 + image * C, beta2 + image * C};
            chain.pass(x + image * size, clean ? &scale : nullptr, z + image * size, own, from, to, windows, work);
        }
    });
}

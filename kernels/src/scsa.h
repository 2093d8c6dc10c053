// SCSA, sample by sample: strips, windows, attention between the channels, gates. Small arrays
// lie as (positions, C), so that their loops run over channels. Included once for each level of
// vector instructions.

// Rows up to this long are shorter than what a vector is good for: such maps are transposed.
constexpr int64_t NARROW = 16;

// What both passes share: sizes, parameters and the strips of one call.
template <typename T, typename Map>
class Scsa {
  using A = wide_t<T>;
  const Parallel& parallel;
  const Shape s;
  const ScsaParameters<A>& p;
  const int64_t count, strip;  // windows; elements of both strips
  std::vector<A> weight;       // of the convolutions, (kernel, width) each

  Map map() const { return Map(s, p.window); }
  // Rows (0) or columns (1) of group g.
  StripGroup<A> group(int64_t direction, int64_t g, int64_t* offset) const {
    int64_t width = s.c / p.kernels.size(), begin = g * width;
    *offset = 0;
    for (int64_t i = 0; i < g; i++) *offset += width * p.kernels[i];
    return {direction ? s.w : s.h, s.c, begin, width, p.kernels[g], weight.data() + *offset,
            p.bias + begin, p.norm[direction][0] + begin, p.norm[direction][1] + begin,
            A(p.eps[direction])};
  }
  // body(direction, group): each by one thread.
  void over_groups(const std::function<void(int64_t, int64_t)>& body) const {
    int64_t groups = p.kernels.size();
    parallel(2 * groups, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) body(i / groups, i % groups);
    });
  }

 public:
  Scsa(const Parallel& parallel, Shape s, const ScsaParameters<A>& p)
      : parallel(parallel), s(s), p(p), count(Windows(s, p.window).count()),
        strip((s.h + s.w) * s.c), weight(p.weights(s.c)) {
    for (int64_t g = 0; g < int64_t(p.kernels.size()); g++) {
      int64_t offset;
      StripGroup<A> to = group(0, g, &offset);
      for (int64_t i = 0; i < to.width; i++)
        for (int64_t t = 0; t < to.kernel; t++)
          weight[offset + t * to.width + i] = p.weight[offset + i * to.kernel + t];
    }
  }

  template <typename S>
  void forward(int64_t begin, int64_t end, const S& samples, A* strips, A* kept) const {
    std::vector<A> normal(strip), gates(strip), channels(s.c);
    ChannelAttention<A> attention(s.c, p.heads, count);
    A *rows = gates.data(), *columns = rows + s.h * s.c;
    for (int64_t n = begin; n < end; n++) {
      const T* from = samples.input(0, n);
      T* to_map = samples.output(n);
      A *means = strips + n * strip, *pooled = kept + n * (count + 1) * s.c;
      over_channels(parallel, s.c, [&](int64_t c, int64_t to) {
        map().means(from, c, to, means, means + s.h * s.c);
      });
      over_groups([&](int64_t direction, int64_t g) {
        int64_t offset, skip = direction * s.h * s.c;
        group(direction, g, &offset).forward(means + skip, normal.data() + skip, rows + skip);
      });
      over_channels(parallel, s.c, [&](int64_t c, int64_t to) {
        map().windows(from, c, to, rows, columns, pooled);
      });
      attention.prepare(p, pooled);
      A* attended = pooled + count * s.c;
      over_channels(parallel, s.c, [&](int64_t c, int64_t to) {
        attention.attend(c, to, attended);
        for (int64_t i = c; i < to; i++) channels[i] = sigmoid(attended[i]);
        map().apply(from, c, to, rows, columns, channels.data(), p.scale, to_map);
      });
      samples.done(n);
    }
  }

  // `sums`: the gradients of the parameters, by sample.
  template <typename S>
  void backward(int64_t begin, int64_t end, const S& samples, const A* strips, const A* kept,
                A* sums) const {
    // The rows of the attention are added up in as many parts, whatever the threads.
    constexpr int64_t PARTS = 4;
    int64_t all = count * s.c, part = (s.c + PARTS - 1) / PARTS;
    std::vector<A> normal(strip), gates(strip), to_gates(strip), to_strips(strip), channels(s.c),
        to_attended(s.c), to_q(all), to_kv(PARTS * (all + s.c)), scales(2 * p.kernels.size());
    ChannelAttention<A> attention(s.c, p.heads, count);
    A *rows = gates.data(), *columns = rows + s.h * s.c;
    A *to_rows = to_gates.data(), *to_columns = to_rows + s.h * s.c;
    A factor = p.scale ? *p.scale : A(1);
    int64_t weights = p.weights(s.c);
    for (int64_t n = begin; n < end; n++) {
      const T *g = samples.input(0, n), *from = samples.input(1, n);
      T* to_map = samples.output(n);
      const A *means = strips + n * strip, *pooled = kept + n * (count + 1) * s.c;
      const A* attended = pooled + all;
      A* to_weight = sums + n * p.gradients(s.c);
      A *to_bias = to_weight + 2 * weights, *to_norm = to_bias + 2 * s.c;
      A *to_qkv = to_norm + 6 * s.c, *to_scale = to_qkv + 3 * s.c;
      over_groups([&](int64_t direction, int64_t i) {
        int64_t offset, skip = direction * s.h * s.c;
        scales[direction * p.kernels.size() + i] = group(direction, i, &offset)
            .forward(means + skip, normal.data() + skip, rows + skip);
      });
      over_channels(parallel, s.c, [&](int64_t c, int64_t end) {
        map().products(g, from, c, end, rows, columns, to_rows, to_columns, to_scale);
        std::vector<A> to_channels(s.c);
        for (int64_t h = 0; h < s.h; h++)
          for (int64_t i = c; i < end; i++)
            to_channels[i] += to_rows[h * s.c + i] * rows[h * s.c + i];
        for (int64_t i = c; i < end; i++) {
          A gate = channels[i] = sigmoid(attended[i]);
          to_attended[i] = to_channels[i] * factor * gate * (1 - gate);
          to_scale[i] = to_channels[i] * gate - to_scale[i];
        }
        for (int64_t l = 0; l < s.h + s.w; l++)
          for (int64_t i = c; i < end; i++) to_gates[l * s.c + i] *= factor * channels[i];
      });
      attention.prepare(p, pooled);
      parallel(PARTS, [&](int64_t i, int64_t last) {
        for (; i < last; i++) {
          A *to_k = to_kv.data() + i * (all + s.c), *to_v = to_k + all;
          std::fill(to_k, to_v + s.c, A(0));
          attention.backward(std::min(s.c, i * part), std::min(s.c, (i + 1) * part),
                             to_attended.data(), to_q.data(), to_k, to_v);
        }
      });
      for (int64_t i = 1; i < PARTS; i++)
        for (int64_t j = 0; j < all + s.c; j++) to_kv[j] += to_kv[i * (all + s.c) + j];
      A* const qkv[3] = {to_qkv, to_qkv + s.c, to_qkv + 2 * s.c};
      attention.finish(p, to_q.data(), to_kv.data(), to_kv.data() + all, to_norm + 4 * s.c,
                       to_norm + 5 * s.c, qkv);
      over_channels(parallel, s.c, [&](int64_t c, int64_t end) {
        map().through(from, c, end, rows, columns, to_q.data(), to_rows, to_columns);
      });
      over_groups([&](int64_t direction, int64_t i) {
        int64_t offset, skip = direction * s.h * s.c;
        StripGroup<A> to = group(direction, i, &offset);
        to.backward(means + skip, normal.data() + skip, rows + skip,
                    scales[direction * p.kernels.size() + i], direction ? s.h : s.w,
                    to_rows + skip, to_strips.data() + skip,
                    to_weight + direction * weights + offset, to_bias + direction * s.c + to.begin,
                    to_norm + 2 * direction * s.c + to.begin,
                    to_norm + (2 * direction + 1) * s.c + to.begin);
      });
      over_channels(parallel, s.c, [&](int64_t c, int64_t end) {
        map().gradient(g, c, end, rows, columns, channels.data(), p.scale, to_q.data(),
                       to_strips.data(), to_strips.data() + s.h * s.c, to_map);
      });
      samples.done(n);
    }
  }
};

// body(layer, maps, begin, end): samples shared out by `samples`, which is serial where there are
// fewer than threads; then the phases of a sample are shared out by `parallel`.
template <typename T, typename Body>
void over_scsa(const Parallel& samples, const Parallel& parallel, Shape s,
               const ScsaParameters<wide_t<T>>& p, std::array<const T*, 2> in, T* out,
               const Body& body) {
  using A = wide_t<T>;
  if (!s.channels_last && s.w <= NARROW) {
    Shape pixels = s;
    pixels.channels_last = true;
    const Scsa<A, PixelMap<A>> layer(parallel, pixels, p);
    samples(s.n, [&](int64_t begin, int64_t end) {
      body(layer, TransposedSamples<T>(parallel, s, in, out), begin, end);
    });
    return;
  }
  auto run = [&](const auto& layer) {
    samples(s.n, [&](int64_t begin, int64_t end) {
      body(layer, Samples<T>{parallel, s, {in[0], in[1]}, out}, begin, end);
    });
  };
  if (s.channels_last)
    run(Scsa<T, PixelMap<T>>(parallel, s, p));
  else
    run(Scsa<T, PlanarMap<T>>(parallel, s, p));
}

template <typename T>
void scsa(const Parallel& samples, const Parallel& parallel, Shape s,
          const ScsaParameters<wide_t<T>>& p, const T* x, T* y, wide_t<T>* strips,
          wide_t<T>* kept) {
  over_scsa<T>(samples, parallel, s, p, {x, nullptr}, y,
               [&](const auto& layer, const auto& maps, int64_t begin, int64_t end) {
                 layer.forward(begin, end, maps, strips, kept);
               });
}

template <typename T>
void scsa_backward(const Parallel& samples, const Parallel& parallel, Shape s,
                   const ScsaParameters<wide_t<T>>& p, const T* grad, const T* x,
                   const wide_t<T>* strips, const wide_t<T>* kept, T* out, wide_t<T>* sums) {
  over_scsa<T>(samples, parallel, s, p, {grad, x}, out,
               [&](const auto& layer, const auto& maps, int64_t begin, int64_t end) {
                 layer.backward(begin, end, maps, strips, kept, sums);
               });
}

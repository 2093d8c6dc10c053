// SCSA, sample by sample: strips, windows, attention between the channels, gates. Small arrays
// lie as (positions, C), so that their loops run over channels. Included once for each level of
// vector instructions.

// A group of channels of one direction's strip (positions, C): convolution, norm, sigmoid.
template <typename A>
struct StripGroup {
  int64_t length, c, begin, width, kernel;
  const A *weight;  // (kernel, width)
  const A *bias, *norm_weight, *norm_bias;
  A eps;

  // strip -> the normalised result of the convolution and its gates; returns 1 / deviation.
  A forward(const A* strip, A* normal, A* gates) const {
    A total = 0;
    for (int64_t l = 0; l < length; l++) {
      A* to = normal + l * c + begin;
      for (int64_t i = 0; i < width; i++) to[i] = bias[i];
      for (int64_t t = 0; t < kernel; t++) {
        int64_t place = l + t - kernel / 2;
        if (place < 0 || place >= length) continue;
        const A *from = strip + place * c + begin, *times = weight + t * width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) to[i] += times[i] * from[i];
      }
      A sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < width; i++) sum += to[i];
      total += sum;
    }
    A mean = total / (length * width);
    total = 0;
    for (int64_t l = 0; l < length; l++) {
      A* to = normal + l * c + begin;
      A sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < width; i++) {
        to[i] -= mean;
        sum += to[i] * to[i];
      }
      total += sum;
    }
    A scale = 1 / std::sqrt(total / (length * width) + eps);
    for (int64_t l = 0; l < length; l++) {
      A *to = normal + l * c + begin, *gate = gates + l * c + begin;
#pragma omp simd
      for (int64_t i = 0; i < width; i++) {
        to[i] *= scale;
        gate[i] = sigmoid(to[i] * norm_weight[i] + norm_bias[i]);
      }
    }
    return scale;
  }

  // grad, of the gates, becomes that of the convolution's result; the strip's is divided by
  // what each of its means is over.
  void backward(const A* strip, const A* normal, const A* gates, A scale, int64_t over, A* grad,
                A* to_strip, A* to_weight, A* to_bias, A* to_norm_weight, A* to_norm_bias) const {
    std::fill(to_norm_weight, to_norm_weight + width, A(0));
    std::fill(to_norm_bias, to_norm_bias + width, A(0));
    std::fill(to_weight, to_weight + kernel * width, A(0));
    std::fill(to_bias, to_bias + width, A(0));
    A mean = 0, with = 0;
    for (int64_t l = 0; l < length; l++) {
      A* g = grad + l * c + begin;
      const A *n = normal + l * c + begin, *gate = gates + l * c + begin;
      A sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
      for (int64_t i = 0; i < width; i++) {
        A logit = g[i] * gate[i] * (1 - gate[i]);
        to_norm_bias[i] += logit;
        to_norm_weight[i] += logit * n[i];
        g[i] = logit * norm_weight[i];
        sum += g[i];
        product += g[i] * n[i];
      }
      mean += sum;
      with += product;
    }
    mean /= length * width;
    with /= length * width;
    for (int64_t l = 0; l < length; l++) {
      A* g = grad + l * c + begin;
      const A* n = normal + l * c + begin;
#pragma omp simd
      for (int64_t i = 0; i < width; i++) {
        g[i] = scale * (g[i] - mean - n[i] * with);
        to_bias[i] += g[i];
      }
    }
    for (int64_t l = 0; l < length; l++) {
      A* to = to_strip + l * c + begin;
      std::fill(to, to + width, A(0));
      for (int64_t t = 0; t < kernel; t++) {
        int64_t place = l - t + kernel / 2;
        if (place < 0 || place >= length) continue;
        const A *g = grad + place * c + begin, *from = strip + l * c + begin;
        const A* times = weight + t * width;
        A* sum = to_weight + t * width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
          to[i] += times[i] * g[i] / over;
          sum[i] += from[i] * g[i];
        }
      }
    }
  }
};

// One sample's self-attention between the channels of a head, by rows of the C x C matrix,
// which is never stored: a_i = sum_j softmax_j(sum_n q_ni k_nj) v_j with v the mean over windows.
template <typename A>
struct ChannelAttention {
  int64_t c, heads, count;
  std::vector<A> normal, q, k, v, mean;  // normalised windows (count, C) and what is made of them
  std::vector<A> high, low;              // largest and smallest key of a head, of one window
  A scale;                               // 1 / deviation

  ChannelAttention(int64_t c, int64_t heads, int64_t count)
      : c(c), heads(heads), count(count), normal(count * c), q(count * c), k(count * c), v(c),
        mean(c), high(heads), low(heads) {}

  void prepare(const ScsaParameters<A>& p, const A* pooled) {
    int64_t size = count * c;
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; i++) sum += pooled[i];
    A middle = sum / size;
    sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; i++) {
      normal[i] = pooled[i] - middle;
      sum += normal[i] * normal[i];
    }
    scale = 1 / std::sqrt(sum / size + A(p.eps[2]));
    const A *weight = p.norm[2][0], *bias = p.norm[2][1];
    A factor = p.factor;
    std::fill(mean.begin(), mean.end(), A(0));
    for (int64_t n = 0; n < count; n++)
#pragma omp simd
      for (int64_t i = 0; i < c; i++) {
        A value = (normal[n * c + i] *= scale) * weight[i] + bias[i];
        q[n * c + i] = value * p.qkv[0][i] * factor;
        k[n * c + i] = value * p.qkv[1][i];
        mean[i] += value;
      }
    for (int64_t i = 0; i < c; i++) v[i] = (mean[i] /= count) * p.qkv[2][i];
    for (int64_t i = 0; i < heads; i++) {
      auto ends = std::minmax_element(k.begin() + first(i * c / heads),
                                      k.begin() + (i + 1) * (c / heads));
      low[i] = *ends.first, high[i] = *ends.second;
    }
  }

  int64_t first(int64_t i) const { return i / (c / heads) * (c / heads); }

  // e = exp(logits of row i - their maximum); returns 1 / sum.
  A row(int64_t i, A* e, A* attended) const {
    int64_t from = first(i), size = c / heads;
    const A *key = k.data() + from, *value = v.data() + from;
    if (count == 1) {
      // The largest logit is that of the largest or the smallest key.
      A query = q[i], most = std::max(query * high[i / size], query * low[i / size]);
      return softmax(size, e, value, attended, [&](int64_t j) INLINE_BODY {
        return query * key[j] - most;
      });
    }
    std::fill(e, e + size, A(0));
    for (int64_t n = 0; n < count; n++) {
      A query = q[n * c + i];
      key = k.data() + n * c + from;
#pragma omp simd
      for (int64_t j = 0; j < size; j++) e[j] += query * key[j];
    }
    A most = -INFINITY;
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < size; j++) most = most > e[j] ? most : e[j];
    return softmax(size, e, value, attended, [&](int64_t j) INLINE_BODY { return e[j] - most; });
  }

  template <typename Logit>
  INLINE A softmax(int64_t size, A* e, const A* value, A* attended, const Logit& logit) const {
    A sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t j = 0; j < size; j++) {
      e[j] = exponential(logit(j));
      sum += e[j];
      product += e[j] * value[j];
    }
    *attended = product / sum;
    return 1 / sum;
  }

  // Adds what row i gives to the gradients of k and v, and sets q's; grad is that of a_i.
  void row_backward(int64_t i, A grad, A* e, A* to_q, A* to_k, A* to_v) const {
    A attended, factor = grad * row(i, e, &attended);
    int64_t from = first(i), size = c / heads;
    const A* value = v.data() + from;
    to_v += from;
#pragma omp simd
    for (int64_t j = 0; j < size; j++) {
      A part = e[j] * factor;
      to_v[j] += part;
      e[j] = part * (value[j] - attended);
    }
    for (int64_t n = 0; n < count; n++) {
      A query = q[n * c + i], sum = 0;
      const A* key = k.data() + n * c + from;
      A* to = to_k + n * c + from;
#pragma omp simd reduction(+ : sum)
      for (int64_t j = 0; j < size; j++) {
        sum += e[j] * key[j];
        to[j] += e[j] * query;
      }
      to_q[n * c + i] = sum;
    }
  }

  // Gradients of q, k and v -> of the window means (into to_q) and of the parameters.
  void finish(const ScsaParameters<A>& p, A* to_q, const A* to_k, const A* to_v, A* to_weight,
              A* to_bias, A* const to_qkv[3]) const {
    const A *weight = p.norm[2][0], *bias = p.norm[2][1];
    A factor = p.factor, sum = 0, with = 0;
    for (A* to : {to_weight, to_bias, to_qkv[0], to_qkv[1]}) std::fill(to, to + c, A(0));
    for (int64_t i = 0; i < c; i++) to_qkv[2][i] = to_v[i] * mean[i];
    for (int64_t n = 0; n < count; n++) {
      const A *x = normal.data() + n * c, *dk = to_k + n * c;
      A* dq = to_q + n * c;
#pragma omp simd reduction(+ : sum, with)
      for (int64_t i = 0; i < c; i++) {
        A value = x[i] * weight[i] + bias[i], query = dq[i] * factor;
        to_qkv[0][i] += query * value;
        to_qkv[1][i] += dk[i] * value;
        A grad = query * p.qkv[0][i] + dk[i] * p.qkv[1][i] + to_v[i] * p.qkv[2][i] / count;
        to_bias[i] += grad;
        to_weight[i] += grad * x[i];
        grad *= weight[i];
        dq[i] = grad;
        sum += grad;
        with += grad * x[i];
      }
    }
    A middle = sum / (count * c), slope = with / (count * c);
#pragma omp simd
    for (int64_t i = 0; i < count * c; i++) to_q[i] = scale * (to_q[i] - middle - normal[i] * slope);
  }
};

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

  void forward(int64_t begin, int64_t end, const T* x, T* y, A* strips, A* kept) const {
    std::vector<A> normal(strip), gates(strip), channels(s.c);
    ChannelAttention<A> attention(s.c, p.heads, count);
    A *rows = gates.data(), *columns = rows + s.h * s.c;
    for (int64_t n = begin; n < end; n++) {
      const T* from = x + n * s.c * s.plane();
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
        std::vector<A> e(s.c);
        for (int64_t i = c; i < to; i++) attention.row(i, e.data(), attended + i);
        for (int64_t i = c; i < to; i++) channels[i] = sigmoid(attended[i]);
        map().apply(from, c, to, rows, columns, channels.data(), p.scale, y + n * s.c * s.plane());
      });
    }
  }

  // `sums`: the gradients of the parameters, by sample.
  void backward(int64_t begin, int64_t end, const T* grad, const T* x, const A* strips,
                const A* kept, T* out, A* sums) const {
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
      const T *from = x + n * s.c * s.plane(), *g = grad + n * s.c * s.plane();
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
        std::vector<A> e(s.c);
        for (; i < last; i++) {
          A *to_k = to_kv.data() + i * (all + s.c), *to_v = to_k + all;
          std::fill(to_k, to_v + s.c, A(0));
          for (int64_t row = i * part; row < std::min(s.c, (i + 1) * part); row++)
            attention.row_backward(row, to_attended[row], e.data(), to_q.data(), to_k, to_v);
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
                       to_strips.data(), to_strips.data() + s.h * s.c,
                       out + n * s.c * s.plane());
      });
    }
  }
};

// Samples by `samples`, which is serial where there are fewer samples than threads; then the
// phases of a sample are shared out by `parallel`.
template <typename T>
void scsa(const Parallel& samples, const Parallel& parallel, Shape s,
          const ScsaParameters<wide_t<T>>& p, const T* x, T* y, wide_t<T>* strips,
          wide_t<T>* kept) {
  auto run = [&](const auto& layer) {
    samples(s.n, [&](int64_t begin, int64_t end) { layer.forward(begin, end, x, y, strips, kept); });
  };
  if (s.channels_last)
    run(Scsa<T, PixelMap<T>>(parallel, s, p));
  else
    run(Scsa<T, PlanarMap<T>>(parallel, s, p));
}

template <typename T>
void scsa_backward(const Parallel& samples, const Parallel& parallel, Shape s,
                   const ScsaParameters<wide_t<T>>& p, const T* grad, const T* x,
                   const wide_t<T>* strips, const wide_t<T>* kept, T* out, wide_t<T>* sums) {
  auto run = [&](const auto& layer) {
    samples(s.n, [&](int64_t begin, int64_t end) {
      layer.backward(begin, end, grad, x, strips, kept, out, sums);
    });
  };
  if (s.channels_last)
    run(Scsa<T, PixelMap<T>>(parallel, s, p));
  else
    run(Scsa<T, PlanarMap<T>>(parallel, s, p));
}

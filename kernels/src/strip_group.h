// SCSA's strips: the spatial half. Included once for each level of vector instructions.

// A group of channels of one direction's strip (positions, C): convolution, norm, sigmoid.
template <typename A>
struct StripGroup {
  int64_t length, c, begin, width, kernel;
  const A *weight;  // (kernel, width)
  const A *bias, *norm_weight, *norm_bias;
  A eps;
  using V = vec_t<A>;

  // strip -> the normalised result of the convolution and its gates; returns 1 / deviation.
  A forward(const A* strip, A* normal, A* gates) const {
    V total = {};
    for (int64_t l = 0; l < length; l++) {
      const int64_t first = std::max<int64_t>(0, kernel / 2 - l);
      const int64_t last = std::min(kernel, length + kernel / 2 - l);
      const A* from = strip + (l - kernel / 2) * c + begin;
      each_lanes<A>(width, [&](int64_t i, auto count) INLINE_BODY {
        V sum = load_lanes(bias + i, count);
        for (int64_t t = first; t < last; t++)
          sum += load_lanes(weight + t * width + i, count) * load_lanes(from + t * c + i, count);
        store_lanes(normal + l * c + begin + i, sum, count);
        total += sum;
      });
    }
    const A mean = sum_everywhere<A>(total)[0] / (length * width);
    total = V{};
    for (int64_t l = 0; l < length; l++)
      each_lanes<A>(width, [&](int64_t i, auto count) INLINE_BODY {
        V away = only<A>(load_lanes(normal + l * c + begin + i, count) - mean, count);
        total += away * away;
      });
    const A scale = 1 / std::sqrt(sum_everywhere<A>(total)[0] / (length * width) + eps);
    for (int64_t l = 0; l < length; l++)
      each_lanes<A>(width, [&](int64_t i, auto count) INLINE_BODY {
        A* to = normal + l * c + begin + i;
        V value = (load_lanes(to, count) - mean) * scale;
        store_lanes(to, value, count);
        value = value * load_lanes(norm_weight + i, count) + load_lanes(norm_bias + i, count);
        store_lanes(gates + l * c + begin + i, sigmoid(value), count);
      });
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

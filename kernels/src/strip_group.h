// SCSA's strips: the spatial half. Included once for each level of vector instructions.

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

// SimAM: see mmattn/kernels/simam.py. Included once for each level of vector instructions.

// 1 / (4 (variance + lambda)), with the variance of a sample.
template <typename A>
A inverse_energy(const A* x, int64_t size, A mean, A lambda) {
  A variance = variance_of(x, size, mean) * (A(size) / std::max<int64_t>(size - 1, 1));
  return 1 / (4 * (variance + lambda));
}

template <typename T>
void simam(const Parallel& parallel, Shape s, const T* x, wide_t<T> scale, double lambda, T* y) {
  using A = wide_t<T>;
  int64_t size = s.plane();
  over_planes<T>(parallel, s, s.c, 2, size, [&](int64_t n, int64_t c, int64_t count, A* room) {
    const A* from = take(s, x, n, c, 1, count, room);
    A* to = target(s, y, n, c, room + count * size);
    for (int64_t k = 0; k < count; k++) {
      const A* in = from + k * size;
      A* out = to + k * size;
      A mean = mean_of(in, size), energy = inverse_energy(in, size, mean, A(lambda));
#pragma omp simd
      for (int64_t i = 0; i < size; i++) {
        A d = in[i] - mean;
        out[i] = in[i] + in[i] * scale * (sigmoid(d * d * energy + A(0.5)) - 1);
      }
    }
    put(s, y, n, c, 1, count, to);
  });
}

// With t the gradient of what the sigmoid is of, d the distance and e the inverse energy:
// that of d is 2 d (e t - 4 e^2 sum(t d^2) / (size - 1)); its mean, which the mean of the
// plane takes off again, is that of 2 e d t alone.
template <typename T>
void simam_backward(const Parallel& parallel, Shape s, const T* grad, const T* x,
                    wide_t<T> scale, double lambda, T* dx, wide_t<T>* dscale) {
  using A = wide_t<T>;
  int64_t size = s.plane();
  over_planes<T>(parallel, s, s.c, 4, size, [&](int64_t n, int64_t c, int64_t count, A* room) {
    int64_t all = count * size;
    const A* from = take(s, x, n, c, 1, count, room);
    const A* with = take(s, grad, n, c, 1, count, room + all);
    A* to = target(s, dx, n, c, room + 2 * all);
    A* through = room + 3 * all;
    for (int64_t k = 0; k < count; k++) {
      const A *in = from + k * size, *g = with + k * size;
      A* out = to + k * size;
      A mean = mean_of(in, size), energy = inverse_energy(in, size, mean, A(lambda));
      A square = 0, linear = 0, gate = 0;
      for (int64_t begin = 0; begin < size; begin += PART) {
        int64_t end = std::min(size, begin + PART);
        A squares = 0, lines = 0, gates = 0;
#pragma omp simd reduction(+ : squares, lines, gates)
        for (int64_t i = begin; i < end; i++) {
          A d = in[i] - mean;
          A a = sigmoid(d * d * energy + A(0.5));
          A t = scale * g[i] * in[i] * a * (1 - a);
          gates += g[i] * in[i] * (a - 1);
          squares += t * d * d;
          lines += t * d;
          through[i] = 2 * energy * t * d;
          out[i] = g[i] + g[i] * scale * (a - 1);
        }
        square += squares, linear += lines, gate += gates;
      }
      A slope = 8 * energy * energy * square / std::max<int64_t>(size - 1, 1);
      A shift = 2 * energy * linear / size;
#pragma omp simd
      for (int64_t i = 0; i < size; i++) out[i] += through[i] - (in[i] - mean) * slope - shift;
      if (dscale) dscale[n * s.c + c + k] = gate;
    }
    put(s, dx, n, c, 1, count, to);
  });
}

// SimAM: see mmattn/kernels/simam.py. Included once for each level of vector instructions.

// 1 / (4 (variance + lambda)), with the variance of a sample.
template <typename T, typename Tile>
INLINE vec_t<T> inverse_energy(const Tile& tile, const T* x, vec_t<T> mean, wide_t<T> lambda) {
  wide_t<T> sample = wide_t<T>(tile.size) / std::max<int64_t>(tile.size - 1, 1);
  return 1 / (4 * (variance_of(tile, x, mean) * sample + lambda));
}

template <typename T>
void simam(const Parallel& parallel, Shape s, const T* x, wide_t<T> scale, double lambda, T* y) {
  using A = wide_t<T>;
  over_tiles<T>(parallel, s, [&](const auto& tile, int64_t start, int64_t, A*) {
    const T* from = x + start;
    T* to = y + start;
    vec_t<T> mean = mean_of(tile, from), energy = inverse_energy(tile, from, mean, A(lambda));
    tile.each([&](int64_t i, int64_t, auto count) INLINE_BODY {
      vec_t<T> value = load_lanes(from + i, count), d = value - mean;
      vec_t<T> less = value * scale / (1 + exponential(d * d * energy + A(0.5)));  // x s (1 - a)
      store_lanes(to + i, value - less, count);
    });
  });
}

// With t the gradient of what the sigmoid is of, d the distance and e the inverse energy:
// that of d is 2 d (e t - 4 e^2 sum(t d^2) / (size - 1)); its mean, which the mean of the
// plane takes off again, is that of 2 e d t alone.
template <typename T>
void simam_backward(const Parallel& parallel, Shape s, const T* grad, const T* x,
                    wide_t<T> scale, double lambda, T* dx, wide_t<T>* dscale) {
  using A = wide_t<T>;
  over_tiles<T>(parallel, s, [&](const auto& tile, int64_t start, int64_t c, A* buffer) {
    const T *from = x + start, *with = grad + start;
    T* to = dx + start;
    vec_t<T> mean = mean_of(tile, from), energy = inverse_energy(tile, from, mean, A(lambda));
    Sums<T, 3> sums;  // of t d^2, of t d, and the gradient of scale
    tile.each([&](int64_t i, int64_t at, auto count) INLINE_BODY {
      vec_t<T> value = load_lanes(from + i, count), g = load_lanes(with + i, count);
      vec_t<T> d = value - mean, rest = 1 / (1 + exponential(d * d * energy + A(0.5)));  // 1 - a
      vec_t<T> product = g * value * rest, t = product * scale * (1 - rest);
      sums.part[0] += t * d * d;
      sums.part[1] += t * d;
      sums.part[2] -= product;
      store_lanes(buffer + at, g - g * scale * rest + 2 * energy * t * d, All());
    }, sums);
    vec_t<T> slope = 8 * energy * energy * tile.total(sums[0]) /
                     A(std::max<int64_t>(tile.size - 1, 1));
    vec_t<T> shift = 2 * energy * tile.total(sums[1]) / A(tile.size);
    tile.each([&](int64_t i, int64_t at, auto count) INLINE_BODY {
      vec_t<T> d = load_lanes(from + i, count) - mean;
      store_lanes(to + i, load_lanes(buffer + at, All()) - d * slope - shift, count);
    });
    if (dscale) tile.keep(dscale + c, tile.total(sums[2]));
  });
}

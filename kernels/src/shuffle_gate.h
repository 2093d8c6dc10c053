// Shuffle attention: see mmattn/kernels/shuffle_gate.py. Included once for each level of vector
// instructions.

// Of every channel of the input: slope and offset of its gate, 1 where that is of the
// normalised places (0: of the mean), and the channel of the output that it becomes.
template <typename A> struct Shuffle {
  std::vector<A> slope, offset, spatial;
  std::vector<int64_t> to;
  template <typename T> Shuffle(int64_t channels, int64_t groups, const T* slopes, const T* offsets) {
    int64_t width = channels / groups;
    for (int64_t c = 0; c < channels; c++) {
      slope.push_back(load(slopes[c % width]));
      offset.push_back(load(offsets[c % width]));
      spatial.push_back(c % width >= width / 2);
      to.push_back(c % (channels / 2) * 2 + c / (channels / 2));
    }
  }
};

// The gate of a place is sigmoid(level + rise d), d its distance from the plane's mean.
template <typename T> struct ShuffleLine {
  vec_t<T> mean, scale, slope, spatial, level, rise;
  template <typename Tile>
  INLINE ShuffleLine(const Tile& tile, const T* x, const Shuffle<wide_t<T>>& shuffle, int64_t c,
                     double eps) {
    using A = wide_t<T>;
    mean = mean_of(tile, x);
    vec_t<T> variance = variance_of(tile, x, mean) + A(eps);
    for (int i = 0; i < lanes<T>; i++) scale[i] = 1 / std::sqrt(variance[i]);
    slope = tile.kept(shuffle.slope.data() + c), spatial = tile.kept(shuffle.spatial.data() + c);
    level = tile.kept(shuffle.offset.data() + c) + (1 - spatial) * slope * mean;
    rise = spatial * slope * scale;
  }
  INLINE vec_t<T> gate(vec_t<T> x) const { return sigmoid(level + rise * (x - mean)); }
};

template <typename T>
void shuffle_gate(const Parallel& parallel, Shape s, int64_t groups, double eps, const T* x,
                  const T* slope, const T* offset, T* y) {
  Shuffle<wide_t<T>> shuffle(s.c, groups, slope, offset);
  over_tiles<T>(parallel, s, [&](const auto& tile, int64_t start, int64_t plane, auto*) {
    int64_t n = plane / s.c, c = plane % s.c;
    ShuffleLine<T> line(tile, x + start, shuffle, c, eps);
    const auto to = tile.moved(s, n, shuffle.to.data() + c);
    tile.each([&](int64_t i, int64_t, auto count) INLINE_BODY {
      vec_t<T> value = load_lanes(x + start + i, count);
      to.store(y, i, value * line.gate(value), count);
    });
  });
}

// Gradients of slope and offset: (N, C), of each plane.
template <typename T>
void shuffle_gate_backward(const Parallel& parallel, Shape s, int64_t groups, double eps,
                           const T* grad, const T* x, const T* slope, const T* offset, T* dx,
                           wide_t<T>* dslope, wide_t<T>* doffset) {
  using A = wide_t<T>;
  Shuffle<A> shuffle(s.c, groups, slope, offset);
  over_tiles<T>(parallel, s, [&](const auto& tile, int64_t start, int64_t plane, A* buffer) {
    int64_t n = plane / s.c, c = plane % s.c;
    const T* from = x + start;
    ShuffleLine<T> line(tile, from, shuffle, c, eps);
    const auto to = tile.moved(s, n, shuffle.to.data() + c);
    Sums<T, 2> sums;  // of t, the gradient of what the sigmoid is of, and of t d
    tile.each([&](int64_t i, int64_t at, auto count) INLINE_BODY {
      vec_t<T> value = load_lanes(from + i, count), g = to.load(grad, i, count);
      vec_t<T> a = line.gate(value), t = only<T>(g * value * a * (1 - a), count);
      sums.part[0] += t;
      sums.part[1] += t * (value - line.mean);
      store_lanes(buffer + at, g * a + line.rise * t, All());
    }, sums);
    vec_t<T> level = tile.total(sums[0]), rise = tile.total(sums[1]);
    vec_t<T> spatial = line.spatial, size = vec_t<T>() + A(tile.size);
    tile.keep(doffset + plane, level);
    tile.keep(dslope + plane, spatial * line.scale * rise + (1 - spatial) * line.mean * level);
    // Through the mean and, of the spatial half, the variance.
    vec_t<T> shift = ((1 - spatial) * line.slope - line.rise) * level / size;
    vec_t<T> bend = line.rise * line.scale * line.scale * rise / size;
    tile.each([&](int64_t i, int64_t at, auto count) INLINE_BODY {
      vec_t<T> d = load_lanes(from + i, count) - line.mean;
      store_lanes(dx + start + i, load_lanes(buffer + at, All()) + shift - d * bend, count);
    });
  });
}

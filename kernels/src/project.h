// The sum of a map under weights, a plane of them for each group of channels. Included once for
// each level of vector instructions.

// What body gets of planes (G, H, W) for channels that lie side by side: the weights of some
// places of the map, (places, C), of which it finds place `first` and on.
template <typename A, typename Body>
void each_weights(const Parallel& parallel, Shape s, int64_t groups, const A* planes,
                  int64_t parts, const Body& body) {
  constexpr int64_t PLACES = 16;
  const int64_t group = s.c / groups;
  parallel(parts, [&](int64_t begin, int64_t end) {
    Buffer<A> weights(PLACES * s.c);
    for (int64_t part = begin; part < end; part++) {
      const int64_t stop = part_start(s.plane(), parts, part + 1);
      for (int64_t first = part_start(s.plane(), parts, part); first < stop; first += PLACES) {
        const int64_t count = std::min(PLACES, stop - first);
        for (int64_t k = 0; k < count; k++)
          for (int64_t g = 0; g < groups; g++)
            std::fill_n(weights.at(k * s.c + g * group), group, planes[g * s.plane() + first + k]);
        body(part, first, count, weights.at(0));
      }
    }
  });
}

template <typename T>
void project_nhwc(const Parallel& parallel, Shape s, int64_t groups, const T* x,
                  const wide_t<T>* planes, T* z) {
  using A = wide_t<T>;
  // A unit of work: some places of all samples, with sums of its own.
  const int64_t parts = parts_of(1, s.plane() / 16), size = s.n * s.c;
  Buffer<A> sums(parts * size);
  std::fill_n(sums.at(0), parts * size, A(0));
  auto add = [&](int64_t part, int64_t first, int64_t count, const A* weights) {
    for (int64_t n = 0; n < s.n; n++) {
      A* to = sums.at(part * size + n * s.c);
      const T* from = x + (n * s.plane() + first) * s.c;
      each_lanes<T>(s.c, [&](int64_t c, auto lanes) INLINE_BODY {
        vec_t<T> sum = {};
        for (int64_t k = 0; k < count; k++)
          sum += load_lanes(from + k * s.c + c, lanes) * load_lanes(weights + k * s.c + c, lanes);
        add_lanes(to + c, sum, lanes);
      });
    }
  };
  each_weights(parallel, s, groups, planes, parts, add);
  for (int64_t i = 0; i < size; i++) {
    A sum = 0;
    for (int64_t part = 0; part < parts; part++) sum += *sums.at(part * size + i);
    z[i] = store<T>(sum);
  }
}

template <typename T>
void project(const Parallel& parallel, Shape s, int64_t groups, const T* x,
             const wide_t<T>* planes, T* z) {
  if (s.channels_last) return project_nhwc<T>(parallel, s, groups, x, planes, z);
  parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const wide_t<T>* plane = planes + i % s.c / (s.c / groups) * s.plane();
      vec_t<T> sum = {};
      // In pieces: a long sum in one go loses digits.
      for (int64_t first = 0; first < s.plane(); first += 1024) {
        const T* from = x + i * s.plane() + first;
        vec_t<T> piece = {};
        each_lanes<T>(std::min<int64_t>(1024, s.plane() - first), [&](int64_t k, auto count)
                                                                      INLINE_BODY {
          piece += load_lanes(from + k, count) * load_lanes(plane + first + k, count);
        });
        sum += piece;
      }
      z[i] = store<T>(sum_lanes(sum));
    }
  });
}

// The map's gradient; x has its shape only.
template <typename T>
void project_backward(const Parallel& parallel, Shape s, int64_t groups, const T* grad,
                      const wide_t<T>* planes, T* dx) {
  if (s.channels_last) {
    auto write = [&](int64_t, int64_t first, int64_t count, const wide_t<T>* weights) {
      for (int64_t n = 0; n < s.n; n++)
        each_lanes<T>(s.c, [&](int64_t c, auto lanes) INLINE_BODY {
          const vec_t<T> factor = load_lanes(grad + n * s.c + c, lanes);
          for (int64_t k = 0; k < count; k++)
            store_lanes(dx + (n * s.plane() + first + k) * s.c + c,
                        factor * load_lanes(weights + k * s.c + c, lanes), lanes);
        });
    };
    return each_weights(parallel, s, groups, planes, parts_of(1, s.plane() / 16), write);
  }
  parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const wide_t<T>* plane = planes + i % s.c / (s.c / groups) * s.plane();
      const vec_t<T> factor = vec_t<T>{} + load(grad[i]);
      each_lanes<T>(s.plane(), [&](int64_t k, auto count) INLINE_BODY {
        store_lanes(dx + i * s.plane() + k, factor * load_lanes(plane + k, count), count);
      });
    }
  });
}

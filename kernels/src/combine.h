// A weighted sum of a map's channels: one plane. Included once for each level of vector
// instructions.

template <typename T>
void combine(const Parallel& parallel, Shape s, const T* x, const wide_t<T>* weights, T* z) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  if (s.channels_last) {
    parallel(s.n * s.plane(), [&](int64_t begin, int64_t end) {
      RowSums<T> dots;
      for (int64_t i = begin; i < end; i++) {
        V sum = {};
        each_lanes<T>(s.c, [&](int64_t c, auto count) INLINE_BODY {
          sum += load_lanes(x + i * s.c + c, count) * load_lanes(weights + c, count);
        });
        dots.add(i - begin, end - begin, sum, [&](int64_t start, V sums, auto count) INLINE_BODY {
          store_lanes(z + begin + start, sums, count);
        });
      }
    });
    return;
  }
  // A unit of work: some places of a sample.
  const int64_t parts = std::max(parts_of(s.n, s.plane() / 64), (s.plane() + 1023) / 1024);
  parallel(s.n * parts, [&](int64_t begin, int64_t end) {
    Buffer<A> sums(padded<T>(s.plane() / parts + 1));
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t n = unit / parts, first = part_start(s.plane(), parts, unit % parts);
      const int64_t size = part_start(s.plane(), parts, unit % parts + 1) - first;
      std::fill_n(sums.at(0), padded<T>(size), A(0));
      for (int64_t c = 0; c < s.c; c++) {
        const T* from = x + (n * s.c + c) * s.plane() + first;
        each_lanes<T>(size, [&](int64_t k, auto count) INLINE_BODY {
          *(V*)sums.at(k) += load_lanes(from + k, count) * weights[c];
        });
      }
      each_lanes<T>(size, [&](int64_t k, auto count) INLINE_BODY {
        store_lanes(z + n * s.plane() + first + k, *(V*)sums.at(k), count);
      });
    }
  });
}

// The gradients of the map and, (C), of the weights.
template <typename T>
void combine_backward(const Parallel& parallel, Shape s, const T* grad, const T* x,
                      const wide_t<T>* weights, T* dx, wide_t<T>* d_weights) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  // A unit of work, with sums of its own for the weights: a sample, or part of its places.
  const int64_t units = s.channels_last ? s.n * parts_of(s.n, s.plane() / 64) : s.n;
  Buffer<A> sums(units * s.c);
  if (s.channels_last) {
    const int64_t parts = units / s.n;
    parallel(units, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; unit++) {
        A* to = sums.at(unit * s.c);
        std::fill_n(to, s.c, A(0));
        const int64_t first = unit / parts * s.plane();
        for (int64_t i = first + part_start(s.plane(), parts, unit % parts);
             i < first + part_start(s.plane(), parts, unit % parts + 1); i++) {
          const A factor = load(grad[i]);
          each_lanes<T>(s.c, [&](int64_t c, auto count) INLINE_BODY {
            add_lanes(to + c, load_lanes(x + i * s.c + c, count) * factor, count);
            store_lanes(dx + i * s.c + c, load_lanes(weights + c, count) * factor, count);
          });
        }
      }
    });
  } else {
    parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const T* from = grad + i / s.c * s.plane();
        const A weight = weights[i % s.c];
        V sum = {};
        each_lanes<T>(s.plane(), [&](int64_t k, auto count) INLINE_BODY {
          V factor = load_lanes(from + k, count);
          sum += load_lanes(x + i * s.plane() + k, count) * factor;
          store_lanes(dx + i * s.plane() + k, factor * weight, count);
        });
        *sums.at(i) = sum_lanes(sum);
      }
    });
  }
  std::fill_n(d_weights, s.c, A(0));
  for (int64_t unit = 0; unit < units; unit++)
    for (int64_t c = 0; c < s.c; c++) d_weights[c] += *sums.at(unit * s.c + c);
}

// Means of windows, of a map or of the map times its gates of rows and columns; these lie as
// (N, positions, C). Included once for each level of vector instructions.

// Channels are shared out in whole vectors.
inline void over_channels(const Parallel& parallel, int64_t channels,
                          const std::function<void(int64_t, int64_t)>& body) {
  parallel((channels + LANES - 1) / LANES, [&](int64_t begin, int64_t end) {
    body(begin * LANES, std::min(end * LANES, channels));
  });
}

template <typename T, typename Run>
void with_map(Shape s, int64_t size, const Run& run) {
  if (s.channels_last)
    run(PixelMap<T>(s, size));
  else
    run(PlanarMap<T>(s, size));
}

// body(map, n, begin, end): a part of the channels of sample n.
template <typename T, typename Body>
void over_maps(const Parallel& parallel, Shape s, int64_t size, const Body& body) {
  parallel(s.n, [&](int64_t n, int64_t last) {
    for (; n < last; n++)
      over_channels(parallel, s.c, [&](int64_t begin, int64_t end) {
        with_map<T>(s, size, [&](auto map) { body(map, n, begin, end); });
      });
  });
}

template <typename T>
void window_means(const Parallel& parallel, Shape s, int64_t size, const T* x,
                  const wide_t<T>* rows, const wide_t<T>* columns, wide_t<T>* pooled) {
  int64_t count = Windows(s, size).count();
  over_maps<T>(parallel, s, size, [&](auto& map, int64_t n, int64_t begin, int64_t end) {
    map.windows(x + n * s.c * s.plane(), begin, end, rows ? rows + n * s.h * s.c : nullptr,
                columns ? columns + n * s.w * s.c : nullptr, pooled + n * count * s.c);
  });
}

template <typename T>
void window_means_backward(const Parallel& parallel, Shape s, int64_t size,
                           const wide_t<T>* pooled, const T* x, const wide_t<T>* rows,
                           const wide_t<T>* columns, T* dx, wide_t<T>* drows,
                           wide_t<T>* dcolumns) {
  int64_t count = Windows(s, size).count();
  over_maps<T>(parallel, s, size, [&](auto& map, int64_t n, int64_t begin, int64_t end) {
    int64_t at = n * s.c * s.plane(), row = n * s.h * s.c, column = n * s.w * s.c;
    const wide_t<T>* d = pooled + n * count * s.c;
    if (rows) {
      map.through(x + at, begin, end, rows + row, columns + column, d, drows + row,
                  dcolumns + column);
      map.gradient(nullptr, begin, end, rows + row, columns + column, nullptr, nullptr, d, nullptr,
                   nullptr, dx + at);
    } else {
      map.gradient(nullptr, begin, end, nullptr, nullptr, nullptr, nullptr, d, nullptr, nullptr,
                   dx + at);
    }
  });
}

// Means of rows and columns. Included once for each level of vector instructions.

// NARROW: a row is no longer than a vector, so that the sums of the columns stay in a register.
template <typename T, bool NARROW>
void means_nchw(const Parallel& parallel, Shape s, const T* x, T* rows, T* columns) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  const A of_row = A(1) / s.w, of_column = A(1) / s.h;
  parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
    Buffer<A> down(padded<T>(s.w));
    for (int64_t i = begin; i < end; i++) {
      V narrow = {};
      RowSums<T> along;
      if (!NARROW) std::fill(down.at(0), down.at(padded<T>(s.w)), A(0));
      for (int64_t h = 0; h < s.h; h++) {
        V sum = {};
        each_lanes<T>(s.w, [&](int64_t w, auto count) INLINE_BODY {
          V value = load_lanes(x + (i * s.h + h) * s.w + w, count);
          sum += value;
          (NARROW ? narrow : *(V*)down.at(w)) += value;
        });
        along.add(h, s.h, sum, [&](int64_t start, V sums, auto count) INLINE_BODY {
          store_lanes(rows + i * s.h + start, sums * of_row, count);
        });
      }
      each_lanes<T>(s.w, [&](int64_t w, auto count) INLINE_BODY {
        store_lanes(columns + i * s.w + w, (NARROW ? narrow : *(V*)down.at(w)) * of_column, count);
      });
    }
  });
}

template <typename T>
void means_nhwc(const Parallel& parallel, Shape s, const T* x, T* rows, T* columns) {
  using A = wide_t<T>;
  // A unit of work: some channels of a sample.
  const int64_t parts = parts_of(s.n, s.c / 64);
  parallel(s.n * parts, [&](int64_t begin, int64_t end) {
    const int64_t most = s.c / parts + 1;
    Buffer<A> along(s.h * most), down(s.w * most);
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t n = unit / parts, first = part_start(s.c, parts, unit % parts);
      const int64_t c = part_start(s.c, parts, unit % parts + 1) - first;
      std::fill(along.at(0), along.at(s.h * c), A(0));
      std::fill(down.at(0), down.at(s.w * c), A(0));
      for (int64_t h = 0; h < s.h; h++)
        for (int64_t w = 0; w < s.w; w++) {
          const T* from = x + ((n * s.h + h) * s.w + w) * s.c + first;
          each_lanes<T>(c, [&](int64_t k, auto count) INLINE_BODY {
            vec_t<T> value = load_lanes(from + k, count);
            add_lanes(along.at(h * c + k), value, count);
            add_lanes(down.at(w * c + k), value, count);
          });
        }
      for (int64_t k = 0; k < c; k++) {
        const int64_t i = n * s.c + first + k;
        for (int64_t h = 0; h < s.h; h++) rows[i * s.h + h] = store<T>(*along.at(h * c + k) / s.w);
        for (int64_t w = 0; w < s.w; w++)
          columns[i * s.w + w] = store<T>(*down.at(w * c + k) / s.h);
      }
    }
  });
}

template <typename T>
void means(const Parallel& parallel, Shape s, const T* x, T* rows, T* columns) {
  auto nchw = s.w <= lanes<T> ? means_nchw<T, true> : means_nchw<T, false>;
  (s.channels_last ? means_nhwc<T> : nchw)(parallel, s, x, rows, columns);
}

// The map's gradient: of each element the shares of its row and of its column.
template <typename T>
void means_backward(const Parallel& parallel, Shape s, const T* rows, const T* columns, T* dx) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  const A of_row = A(1) / s.w, of_column = A(1) / s.h;
  if (s.channels_last) {
    const ChannelsLastGates<T, true> wide(parallel, s, {rows, columns});
    parallel(s.n * s.h, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++)
        for (int64_t w = 0; w < s.w; w++) {
          const A *row = wide.row(i / s.h, i % s.h), *column = wide.column(i / s.h, w);
          each_lanes<T>(s.c, [&](int64_t c, auto count) INLINE_BODY {
            V sum = load_lanes(row + c, count) * of_row + load_lanes(column + c, count) * of_column;
            store_lanes(dx + (i * s.w + w) * s.c + c, sum, count);
          });
        }
    });
    return;
  }
  parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      for (int64_t h = 0; h < s.h; h++) {
        const A row = load(rows[i * s.h + h]) * of_row;
        each_lanes<T>(s.w, [&](int64_t w, auto count) INLINE_BODY {
          V sum = row + load_lanes(columns + i * s.w + w, count) * of_column;
          store_lanes(dx + (i * s.h + h) * s.w + w, sum, count);
        });
      }
  });
}

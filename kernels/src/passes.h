// What SCSA and the window means do to the map of one sample, channels `begin` to `end`: one
// class for each layout, with the same functions. Gates and strips lie as (positions, C) in
// both. Included once for each level of vector instructions.

// The windows of a map: a smaller map is one, what is left over on the right and below is none's.
struct Windows {
  int64_t h, w, rows, columns;
  Windows(Shape s, int64_t size)
      : h(std::min(size, s.h)), w(std::min(size, s.w)), rows(s.h / h), columns(s.w / w) {}
  int64_t count() const { return rows * columns; }
};

// Channels are shared out in whole vectors.
constexpr int64_t LANES = 16;

template <typename T>
class PlanarMap {
  using A = wide_t<T>;
  using V = vec_t<T>;
  Shape s;
  Windows windows_;
  std::vector<A> values_;
  // Of one plane: gates of rows and columns; of the columns, a row of the windows' gradient,
  // that times the gate, and a sum.
  A *a, *b, *d, *bd, *column;

  void gates(const A* rows, const A* columns, int64_t c) {
    for (int64_t h = 0; h < s.h; h++) a[h] = rows ? rows[h * s.c + c] : A(1);
    for (int64_t w = 0; w < s.w; w++) b[w] = columns ? columns[w * s.c + c] : A(1);
  }
  // d = row i of the windows, one value for each column; zero outside of them.
  void spread(const A* values, int64_t i, int64_t c) {
    A factor = A(1) / (windows_.h * windows_.w);
    for (int64_t j = 0; j < windows_.columns; j++) {
      A value = i < windows_.rows ? values[(i * windows_.columns + j) * s.c + c] * factor : A(0);
      for (int64_t k = 0; k < windows_.w; k++) d[j * windows_.w + k] = value;
    }
    for (int64_t w = 0; w < s.w; w++) bd[w] = b[w] * d[w];
  }
  // Of rows top to top + count, with u(h, w, lanes) a part of one: write(h, sum of u times), and
  // column += sum of u weights[h]. As many rows at once as a vector has lanes, or half as many:
  // their sums stay in registers.
  template <typename U, typename Write>
  INLINE void cross(int64_t top, int64_t count, const A* weights, const A* times, const U& u,
                    const Write& write) {
    constexpr int L = lanes<T>;
    int64_t h = top, end = top + count;
    for (; h + L <= end; h += L)
      cross_rows(h, std::integral_constant<int, L>(), weights, times, u, write);
    if (h + L / 2 <= end) {
      cross_rows(h, std::integral_constant<int, L / 2>(), weights, times, u, write);
      h += L / 2;
    }
    if (h < end) cross_rows(h, int(end - h), weights, times, u, write);
  }
  template <typename Count, typename U, typename Write>
  INLINE void cross_rows(int64_t top, Count count, const A* weights, const A* times, const U& u,
                         const Write& write) {
    V sums[lanes<T>] = {};
    each_lanes<T>(s.w, [&](int64_t w, auto part) INLINE_BODY {
      V sum = load_lanes(column + w, part), factor = load_lanes(times + w, part);
      for (int i = 0; i < count; i++) {
        V value = u(top + i, w, part);
        sums[i] += value * factor;
        sum += value * weights[top + i];
      }
      store_lanes(column + w, sum, part);
    });
    V total = sum_each<T>(sums);
    for (int i = 0; i < count; i++) write(top + i, A(total[i]));
  }

 public:
  PlanarMap(Shape shape, int64_t window)
      : s(shape), windows_(shape, window), values_(s.h + 4 * s.w), a(values_.data()), b(a + s.h),
        d(b + s.w), bd(d + s.w), column(bd + s.w) {}

  void means(const T* x, int64_t begin, int64_t end, A* rows, A* columns) {
    std::fill(a, a + s.h, A(1) / s.h);
    std::fill(b, b + s.w, A(1) / s.w);
    for (int64_t c = begin; c < end; c++) {
      const T* plane = x + c * s.plane();
      std::fill(column, column + s.w, A(0));
      cross(0, s.h, a, b,
            [&](int64_t h, int64_t w, auto part)
                INLINE_BODY { return load_lanes(plane + h * s.w + w, part); },
            [&](int64_t h, A sum) INLINE_BODY { rows[h * s.c + c] = sum; });
      for (int64_t w = 0; w < s.w; w++) columns[w * s.c + c] = column[w];
    }
  }

  // Means of the map times its gates, if there are any, over the windows.
  void windows(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
               A* pooled) {
    A factor = A(1) / (windows_.h * windows_.w);
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      for (int64_t i = 0; i < windows_.rows; i++) {
        const T* from = x + c * s.plane() + i * windows_.h * s.w;
        const A* weights = a + i * windows_.h;
        each_lanes<T>(s.w, [&](int64_t w, auto part) INLINE_BODY {
          V sum = {};
          for (int64_t h = 0; h < windows_.h; h++)
            sum += load_lanes(from + h * s.w + w, part) * weights[h];
          store_lanes(column + w, sum * load_lanes(b + w, part), part);
        });
        for (int64_t j = 0; j < windows_.columns; j++) {
          A sum = 0;
          for (int64_t w = 0; w < windows_.w; w++) sum += column[j * windows_.w + w];
          pooled[(i * windows_.columns + j) * s.c + c] = sum * factor;
        }
      }
    }
  }

  // y = x (1 + scale (g - 1)), g the product of the gates.
  void apply(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
             const A* channels, const A* scale, T* y) {
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      for (int64_t h = 0; h < s.h; h++) {
        const T* from = x + c * s.plane() + h * s.w;
        T* to = y + c * s.plane() + h * s.w;
        A weight = a[h] * channels[c];
        each_lanes<T>(s.w, [&](int64_t w, auto part) INLINE_BODY {
          V gate = load_lanes(b + w, part) * weight;
          if (scale) gate = 1 + *scale * (gate - 1);
          store_lanes(to + w, load_lanes(from + w, part) * gate, part);
        });
      }
    }
  }

  // Sums of grad x: over rows times the columns' gate, over columns times the rows', over all.
  void products(const T* grad, const T* x, int64_t begin, int64_t end, const A* rows,
                const A* columns, A* by_rows, A* by_columns, A* whole) {
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      std::fill(column, column + s.w, A(0));
      const T *from = x + c * s.plane(), *with = grad + c * s.plane();
      V total = {};
      cross(0, s.h, a, b,
            [&](int64_t h, int64_t w, auto part) INLINE_BODY {
              V value = load_lanes(from + h * s.w + w, part) * load_lanes(with + h * s.w + w, part);
              total += value;
              return value;
            },
            [&](int64_t h, A sum) INLINE_BODY { by_rows[h * s.c + c] = sum; });
      for (int64_t w = 0; w < s.w; w++) by_columns[w * s.c + c] = column[w];
      whole[c] = sum_lanes(total);
    }
  }

  // Gradients of the gates through the window means, whose gradient is `pooled`, are added.
  void through(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
               const A* pooled, A* by_rows, A* by_columns) {
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      const T* plane = x + c * s.plane();
      for (int64_t i = 0; i < windows_.rows; i++) {
        std::fill(column, column + s.w, A(0));
        std::fill(d, d + s.w, A(0));
        spread(pooled, i, c);
        cross(i * windows_.h, windows_.h, a, bd,
              [&](int64_t h, int64_t w, auto part)
                  INLINE_BODY { return load_lanes(plane + h * s.w + w, part); },
              [&](int64_t h, A sum) INLINE_BODY { by_rows[h * s.c + c] += sum; });
        for (int64_t w = 0; w < s.w; w++) by_columns[w * s.c + c] += column[w] * d[w];
      }
    }
  }

  // What comes back to the map: grad (1 + scale (g - 1)), the windows' gradient times the gates
  // of rows and columns, and the gradients of the strips. Without grad the windows' alone.
  void gradient(const T* grad, int64_t begin, int64_t end, const A* rows, const A* columns,
                const A* channels, const A* scale, const A* pooled, const A* to_rows,
                const A* to_columns, T* out) {
    A factor = scale ? *scale : A(1), rest = 1 - factor;
    std::fill(d, d + s.w, A(0));
    std::fill(column, column + s.w, A(0));
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      if (grad)
        for (int64_t w = 0; w < s.w; w++) column[w] = to_columns[w * s.c + c];
      for (int64_t h = 0; h < s.h; h++) {
        if (h % windows_.h == 0) spread(pooled, h / windows_.h, c);
        A weight = a[h];
        const int64_t place = c * s.plane() + h * s.w;
        if (!grad) {
          each_lanes<T>(s.w, [&](int64_t w, auto part) INLINE_BODY {
            store_lanes(out + place + w, load_lanes(bd + w, part) * weight, part);
          });
          continue;
        }
        A gate = weight * factor * channels[c], add = to_rows[h * s.c + c];
        each_lanes<T>(s.w, [&](int64_t w, auto part) INLINE_BODY {
          V plus = load_lanes(bd + w, part) * weight + load_lanes(column + w, part) + add;
          V times = load_lanes(b + w, part) * gate + rest;
          store_lanes(out + place + w, load_lanes(grad + place + w, part) * times + plus, part);
        });
      }
    }
  }
};

template <typename T>
class PixelMap {
  using A = wide_t<T>;
  Shape s;
  Windows windows_;

  // The window of (h, w), -1 if it is in none.
  int64_t window(int64_t h, int64_t w) const {
    int64_t i = h / windows_.h, j = w / windows_.w;
    return i < windows_.rows && j < windows_.columns ? i * windows_.columns + j : -1;
  }

 public:
  PixelMap(Shape shape, int64_t window) : s(shape), windows_(shape, window) {}

  void means(const T* x, int64_t begin, int64_t end, A* rows, A* columns) {
    A a = A(1) / s.h, b = A(1) / s.w;
    for (int64_t h = 0; h < s.h; h++) {
      A* row = rows + h * s.c;
      for (int64_t w = 0; w < s.w; w++) {
        const T* from = x + (h * s.w + w) * s.c;
        A* column = columns + w * s.c;
        if (w == 0) std::fill(row + begin, row + end, A(0));
        if (h == 0) std::fill(column + begin, column + end, A(0));
#pragma omp simd
        for (int64_t c = begin; c < end; c++) {
          A value = load(from[c]);
          row[c] += value * b;
          column[c] += value * a;
        }
      }
    }
  }

  void windows(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
               A* pooled) {
    A factor = A(1) / (windows_.h * windows_.w);
    for (int64_t k = 0; k < windows_.count(); k++)
      std::fill(pooled + k * s.c + begin, pooled + k * s.c + end, A(0));
    for (int64_t h = 0; h < windows_.rows * windows_.h; h++)
      for (int64_t w = 0; w < windows_.columns * windows_.w; w++) {
        const T* from = x + (h * s.w + w) * s.c;
        A* to = pooled + window(h, w) * s.c;
        if (!rows) {
#pragma omp simd
          for (int64_t c = begin; c < end; c++) to[c] += load(from[c]) * factor;
          continue;
        }
        const A *row = rows + h * s.c, *column = columns + w * s.c;
#pragma omp simd
        for (int64_t c = begin; c < end; c++) to[c] += load(from[c]) * factor * row[c] * column[c];
      }
  }

  void apply(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
             const A* channels, const A* scale, T* y) {
    A factor = scale ? *scale : A(1);
    for (int64_t h = 0; h < s.h; h++)
      for (int64_t w = 0; w < s.w; w++) {
        const T* from = x + (h * s.w + w) * s.c;
        T* to = y + (h * s.w + w) * s.c;
        const A *row = rows + h * s.c, *column = columns + w * s.c;
        if (scale)
#pragma omp simd
          for (int64_t c = begin; c < end; c++)
            to[c] = store<T>(load(from[c]) * (1 + factor * (row[c] * channels[c] * column[c] - 1)));
        else
#pragma omp simd
          for (int64_t c = begin; c < end; c++)
            to[c] = store<T>(load(from[c]) * (row[c] * channels[c] * column[c]));
      }
  }

  void products(const T* grad, const T* x, int64_t begin, int64_t end, const A* rows,
                const A* columns, A* by_rows, A* by_columns, A* whole) {
    std::fill(whole + begin, whole + end, A(0));
    for (int64_t h = 0; h < s.h; h++) {
      const A* a = rows + h * s.c;
      A* row = by_rows + h * s.c;
      for (int64_t w = 0; w < s.w; w++) {
        const T *from = x + (h * s.w + w) * s.c, *with = grad + (h * s.w + w) * s.c;
        const A* b = columns + w * s.c;
        A* column = by_columns + w * s.c;
        if (w == 0) std::fill(row + begin, row + end, A(0));
        if (h == 0) std::fill(column + begin, column + end, A(0));
#pragma omp simd
        for (int64_t c = begin; c < end; c++) {
          A value = load(from[c]) * load(with[c]);
          row[c] += value * b[c];
          column[c] += value * a[c];
          whole[c] += value;
        }
      }
    }
  }

  void through(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
               const A* pooled, A* by_rows, A* by_columns) {
    A factor = A(1) / (windows_.h * windows_.w);
    for (int64_t h = 0; h < windows_.rows * windows_.h; h++)
      for (int64_t w = 0; w < windows_.columns * windows_.w; w++) {
        const T* from = x + (h * s.w + w) * s.c;
        const A *a = rows + h * s.c, *b = columns + w * s.c, *d = pooled + window(h, w) * s.c;
        A *row = by_rows + h * s.c, *column = by_columns + w * s.c;
#pragma omp simd
        for (int64_t c = begin; c < end; c++) {
          A value = load(from[c]) * factor * d[c];
          row[c] += value * b[c];
          column[c] += value * a[c];
        }
      }
  }

  void gradient(const T* grad, int64_t begin, int64_t end, const A* rows, const A* columns,
                const A* channels, const A* scale, const A* pooled, const A* to_rows,
                const A* to_columns, T* out) {
    A factor = scale ? *scale : A(1), rest = 1 - factor;
    std::vector<A> ones(end, 1), zeros(end, 0);
    A mean = A(1) / (windows_.h * windows_.w);
    for (int64_t h = 0; h < s.h; h++)
      for (int64_t w = 0; w < s.w; w++) {
        int64_t place = (h * s.w + w) * s.c, k = window(h, w);
        T* to = out + place;
        const A* a = rows ? rows + h * s.c : ones.data();
        const A* b = columns ? columns + w * s.c : ones.data();
        const A* d = k < 0 ? zeros.data() : pooled + k * s.c;
        if (!grad) {
#pragma omp simd
          for (int64_t c = begin; c < end; c++) to[c] = store<T>(a[c] * b[c] * d[c] * mean);
          continue;
        }
        const T* from = grad + place;
        const A *row = to_rows + h * s.c, *column = to_columns + w * s.c;
#pragma omp simd
        for (int64_t c = begin; c < end; c++) {
          A gate = a[c] * b[c];
          A sum = row[c] + column[c] + gate * d[c] * mean;
          to[c] = store<T>(load(from[c]) * (rest + factor * gate * channels[c]) + sum);
        }
      }
  }
};

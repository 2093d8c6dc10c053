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

// Rows are worked on in whole vectors, beyond their end: what they meet there is zero.
constexpr int64_t LANES = 16;
#define WHOLE_VECTORS(n) if ((n) % LANES) __builtin_unreachable()

// by_rows = sum over the row of u b; by_columns += a u.
template <typename A>
inline void cross(int64_t full, const A* u, A a, const A* b, A* by_rows, A* by_columns) {
  WHOLE_VECTORS(full);
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t w = 0; w < full; w++) {
    sum += u[w] * b[w];
    by_columns[w] += a * u[w];
  }
  *by_rows = sum;
}

template <typename T>
class PlanarMap {
  using A = wide_t<T>;
  Shape s;
  Windows windows_;
  int64_t full, band;  // the padded width; rows that are worked on at once
  std::vector<A> u_, v_, a_, b_, d_, column_;
  // Rows of a band, in the type of sums; then their factors in the result.
  A *u, *v;
  // Of one plane: the gates of rows and columns, a row of the windows' gradient, a sum.
  A *a, *b, *d, *column;

  void take(const T* from, int64_t rows) {
    int64_t size = rows * s.w;
#pragma omp simd
    for (int64_t i = 0; i < size; i++) u[i] = load(from[i]);
    std::fill(u + size, u + size + LANES, A(0));
  }
  void gates(const A* rows, const A* columns, int64_t c) {
    for (int64_t h = 0; h < s.h; h++) a[h] = rows ? rows[h * s.c + c] : A(1);
    for (int64_t w = 0; w < s.w; w++) b[w] = columns ? columns[w * s.c + c] : A(1);
  }
  void clear() { std::fill(column, column + full, A(0)); }
  // d = one row of windows, one value for each column; zero outside of them.
  void spread(const A* values, int64_t i, int64_t c, A factor) {
    for (int64_t j = 0; j < windows_.columns; j++) {
      A value = i < windows_.rows ? values[(i * windows_.columns + j) * s.c + c] * factor : A(0);
      for (int64_t k = 0; k < windows_.w; k++) d[j * windows_.w + k] = value;
    }
  }

 public:
  PlanarMap(Shape shape, int64_t window)
      : s(shape), windows_(shape, window), full((s.w + LANES - 1) / LANES * LANES),
        band(std::min(s.h, std::max(windows_.h, 2048 / s.w))),
        u_(band * s.w + 2 * LANES), v_(u_.size()), a_(s.h), b_(full), d_(full), column_(full),
        u(u_.data()), v(v_.data()), a(a_.data()), b(b_.data()), d(d_.data()),
        column(column_.data()) {}

  void means(const T* x, int64_t begin, int64_t end, A* rows, A* columns) {
    std::fill(b, b + s.w, A(1) / s.w);
    for (int64_t c = begin; c < end; c++) {
      clear();
      for (int64_t top = 0; top < s.h; top += band) {
        int64_t count = std::min(band, s.h - top);
        take(x + c * s.plane() + top * s.w, count);
        for (int64_t i = 0; i < count; i++)
          cross(full, u + i * s.w, A(1) / s.h, b, rows + (top + i) * s.c + c, column);
      }
      for (int64_t w = 0; w < s.w; w++) columns[w * s.c + c] = column[w];
    }
  }

  // Means of the map times its gates, if there are any, over the windows.
  void windows(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
               A* pooled) {
    WHOLE_VECTORS(full);
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      for (int64_t i = 0; i < windows_.rows; i++) {
        clear();
        take(x + c * s.plane() + i * windows_.h * s.w, windows_.h);
        for (int64_t h = 0; h < windows_.h; h++) {
          A weight = a[i * windows_.h + h];
          const A* from = u + h * s.w;
#pragma omp simd
          for (int64_t w = 0; w < full; w++) column[w] += weight * from[w];
        }
#pragma omp simd
        for (int64_t w = 0; w < full; w++) column[w] *= b[w];
        for (int64_t j = 0; j < windows_.columns; j++) {
          A sum = 0;
          for (int64_t w = 0; w < windows_.w; w++) sum += column[j * windows_.w + w];
          pooled[(i * windows_.columns + j) * s.c + c] = sum / (windows_.h * windows_.w);
        }
      }
    }
  }

  // y = x (1 + scale (g - 1)), g the product of the gates.
  void apply(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
             const A* channels, const A* scale, T* y) {
    WHOLE_VECTORS(full);
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      for (int64_t top = 0; top < s.h; top += band) {
        int64_t count = std::min(band, s.h - top), size = count * s.w;
        for (int64_t i = 0; i < count; i++) {
          A weight = a[top + i] * channels[c];
          A* to = v + i * s.w;
#pragma omp simd
          for (int64_t w = 0; w < full; w++) to[w] = weight * b[w];
        }
        const T* from = x + c * s.plane() + top * s.w;
        T* to = y + c * s.plane() + top * s.w;
        if (scale)
#pragma omp simd
          for (int64_t i = 0; i < size; i++) to[i] = store<T>(load(from[i]) * (1 + *scale * (v[i] - 1)));
        else
#pragma omp simd
          for (int64_t i = 0; i < size; i++) to[i] = store<T>(load(from[i]) * v[i]);
      }
    }
  }

  // Sums of grad x: over rows times the columns' gate, over columns times the rows', over all.
  void products(const T* grad, const T* x, int64_t begin, int64_t end, const A* rows,
                const A* columns, A* by_rows, A* by_columns, A* whole) {
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      clear();
      A total = 0;
      for (int64_t top = 0; top < s.h; top += band) {
        int64_t count = std::min(band, s.h - top), size = count * s.w;
        const T *from = x + c * s.plane() + top * s.w, *with = grad + c * s.plane() + top * s.w;
        A sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < size; i++) {
          u[i] = load(from[i]) * load(with[i]);
          sum += u[i];
        }
        std::fill(u + size, u + size + LANES, A(0));
        total += sum;
        for (int64_t i = 0; i < count; i++)
          cross(full, u + i * s.w, a[top + i], b, by_rows + (top + i) * s.c + c, column);
      }
      for (int64_t w = 0; w < s.w; w++) by_columns[w * s.c + c] = column[w];
      whole[c] = total;
    }
  }

  // Gradients of the gates through the window means, whose gradient is `pooled`, are added.
  void through(const T* x, int64_t begin, int64_t end, const A* rows, const A* columns,
               const A* pooled, A* by_rows, A* by_columns) {
    WHOLE_VECTORS(full);
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      for (int64_t i = 0; i < windows_.rows; i++) {
        clear();
        spread(pooled, i, c, A(1) / (windows_.h * windows_.w));
        take(x + c * s.plane() + i * windows_.h * s.w, windows_.h);
#pragma omp simd
        for (int64_t w = 0; w < full; w++) v[w] = b[w] * d[w];
        for (int64_t h = 0; h < windows_.h; h++) {
          A sum;
          cross(full, u + h * s.w, a[i * windows_.h + h], v, &sum, column);
          by_rows[(i * windows_.h + h) * s.c + c] += sum;
        }
        for (int64_t w = 0; w < s.w; w++) by_columns[w * s.c + c] += column[w] * d[w];
      }
    }
  }

  // What comes back to the map: grad (1 + scale (g - 1)), the windows' gradient times the gates
  // of rows and columns, and the gradients of the strips. Any but `pooled` may be null.
  void gradient(const T* grad, int64_t begin, int64_t end, const A* rows, const A* columns,
                const A* channels, const A* scale, const A* pooled, const A* to_rows,
                const A* to_columns, T* out) {
    WHOLE_VECTORS(full);
    A factor = scale ? *scale : A(1), rest = 1 - factor;
    for (int64_t c = begin; c < end; c++) {
      gates(rows, columns, c);
      for (int64_t w = 0; w < s.w; w++) column[w] = to_columns ? to_columns[w * s.c + c] : A(0);
      for (int64_t i = 0; i * windows_.h < s.h; i++) {
        int64_t top = i * windows_.h, count = std::min(windows_.h, s.h - top);
        spread(pooled, i, c, A(1) / (windows_.h * windows_.w));
        for (int64_t h = 0; h < count; h++) {
          A weight = a[top + h], gate = grad ? weight * factor * channels[c] : A(0);
          A add = to_rows ? to_rows[(top + h) * s.c + c] : A(0);
          A *times = u + h * s.w, *plus = v + h * s.w;
#pragma omp simd
          for (int64_t w = 0; w < full; w++) {
            times[w] = rest + gate * b[w];
            plus[w] = weight * b[w] * d[w] + add + column[w];
          }
        }
        T* to = out + c * s.plane() + top * s.w;
        const T* from = grad ? grad + c * s.plane() + top * s.w : nullptr;
        int64_t size = count * s.w;
        if (from)
#pragma omp simd
          for (int64_t k = 0; k < size; k++) to[k] = store<T>(load(from[k]) * u[k] + v[k]);
        else
#pragma omp simd
          for (int64_t k = 0; k < size; k++) to[k] = store<T>(v[k]);
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

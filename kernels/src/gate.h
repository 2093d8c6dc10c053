// A map times its gates. Included once for each level of vector instructions.

// The factor of an element: a from rows, columns and channels, b of a plane; `part_a` and
// `part_b` are what its gradient is times for a and for b.
template <typename V> struct Factor { V whole, part_a, part_b; };

template <typename V> INLINE Factor<V> joined(Join join, V a, V b, V x) {
  if (join == Join::product) return {a * b, b, a};
  V one = V{} + 1;
  if (join == Join::add) return {a + b, one, one};
  auto a_wins = x * a > x * b, tie = (a == b) | (x == 0);
  V share = tie ? V{} + 0.5f : (a_wins ? one : V{});
  auto nan = (a != a) | (b != b);
  return {nan ? a + b : (a_wins ? a : b), share, one - share};
}

template <typename T> INLINE const T* plane_of(const Shape& s, const Gates<T>& g, int64_t i) {
  return g.planes + (i / s.c * g.groups + i % s.c / (s.c / g.groups)) * s.plane();
}

template <typename T, bool COLUMNS, bool PLANES>
void gate_nchw(const Parallel& parallel, Shape s, const Gates<T>& g, const T* x, T* y) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  const A scale = g.scale ? *g.scale : A(1), rest = 1 - scale;
  parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const T* plane = PLANES ? plane_of(s, g, i) : nullptr;
      const A channel = g.channels ? load(g.channels[i]) : A(1);
      for (int64_t h = 0; h < s.h; h++) {
        const A row = g.rows ? channel * load(g.rows[i * s.h + h]) : channel;
        const T* from = x + (i * s.h + h) * s.w;
        T* to = y + (i * s.h + h) * s.w;
        each_lanes<T>(s.w, [&](int64_t w, auto count) INLINE_BODY {
          V value = load_lanes(from + w, count), factor = V{} + row;
          if (COLUMNS) factor *= load_lanes(g.columns + i * s.w + w, count);
          if (PLANES)
            factor = joined(g.join, factor, load_lanes(plane + h * s.w + w, count), value).whole;
          store_lanes(to + w, value * (rest + scale * factor), count);
        });
      }
    }
  });
}

// (C, size) of one sample -> (size, C), times `factors` (C) if there are any; or all 1.
template <typename T>
void channels_last_gates(const T* gate, const T* factors, int64_t c, int64_t size, wide_t<T>* to) {
  for (int64_t k = 0; k < size; k++)
    for (int64_t i = 0; i < c; i++) {
      wide_t<T> value = gate ? load(gate[i * size + k]) : wide_t<T>(1);
      to[k * c + i] = factors ? value * load(factors[i]) : value;
    }
}

// What is constant along a row (the channels' gates with it), and along a column, with the
// channels last.
template <typename T, bool COLUMNS>
class ChannelsLastGates {
  using A = wide_t<T>;

 public:
  ChannelsLastGates(const Parallel& parallel, Shape s, const Gates<T>& g)
      : s_(s), heights_(g.rows ? s.h : 1), rows_(s.n * heights_ * s.c),
        columns_(COLUMNS ? s.n * s.w * s.c : 0) {
    parallel(s.n, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; n++) {
        const T* rows = g.rows ? g.rows + n * s.c * s.h : nullptr;
        const T* channels = g.channels ? g.channels + n * s.c : nullptr;
        channels_last_gates<T>(rows, channels, s.c, heights_, rows_.at(n * heights_ * s.c));
        if (COLUMNS)
          channels_last_gates<T>(g.columns + n * s.c * s.w, nullptr, s.c, s.w,
                                 columns_.at(n * s.w * s.c));
      }
    });
  }
  const A* row(int64_t n, int64_t h) const {
    return rows_.at((n * heights_ + (heights_ > 1 ? h : 0)) * s_.c);
  }
  const A* column(int64_t n, int64_t w) const {
    return COLUMNS ? columns_.at((n * s_.w + w) * s_.c) : nullptr;
  }

 private:
  Shape s_;
  int64_t heights_;
  Buffer<A> rows_, columns_;
};

template <typename T, bool COLUMNS>
void gate_nhwc(const Parallel& parallel, Shape s, const Gates<T>& g, const T* x, T* y) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  const A scale = g.scale ? *g.scale : A(1), rest = 1 - scale;
  const int64_t group = s.c / g.groups;
  const ChannelsLastGates<T, COLUMNS> wide(parallel, s, g);
  parallel(s.n * s.h, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t n = i / s.h, h = i % s.h;
      const A* row = wide.row(n, h);
      for (int64_t w = 0; w < s.w; w++) {
        const A* column = wide.column(n, w);
        for (int64_t p = 0; p < g.groups; p++) {
          A plane = g.planes ? load(g.planes[(n * g.groups + p) * s.plane() + h * s.w + w]) : A(1);
          const int64_t offset = p * group;
          const T* from = x + (i * s.w + w) * s.c + offset;
          T* to = y + (i * s.w + w) * s.c + offset;
          each_lanes<T>(group, [&](int64_t c, auto count) INLINE_BODY {
            V value = load_lanes(from + c, count), factor = load_lanes(row + offset + c, count);
            if (COLUMNS) factor *= load_lanes(column + offset + c, count);
            factor = joined(g.join, factor, V{} + plane, value).whole;
            store_lanes(to + c, value * (rest + scale * factor), count);
          });
        }
      }
    }
  });
}

template <typename T>
void gate(const Parallel& parallel, Shape s, const Gates<T>& g, const T* x, T* y) {
  if (s.channels_last)
    return (g.columns ? gate_nhwc<T, true> : gate_nhwc<T, false>)(parallel, s, g, x, y);
  if (!g.rows && !g.columns) s = s.flat();
  auto run = g.planes ? (g.columns ? gate_nchw<T, true, true> : gate_nchw<T, false, true>)
                      : (g.columns ? gate_nchw<T, true, false> : gate_nchw<T, false, false>);
  run(parallel, s, g, x, y);
}

// Planes of a sample <-> its pixels, a square of vectors at a time: rows of small maps are
// shorter than a vector, their channels are not. Included once for each level of vector
// instructions.

// Squares of lanes: lane l of x[r] and lane r of x[l] change places, those with the bit S first.
template <typename A, int S, bool LOW, int... I>
INLINE vec_t<A> exchanged(vec_t<A> a, vec_t<A> b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (LOW ? (I & S ? lanes<A> + (I ^ S) : I)
                                            : (I & S ? lanes<A> + I : I ^ S))...);
#else
  using Index = typename Lanes<A>::index;
  return __builtin_shuffle(a, b, Index{(LOW ? (I & S ? lanes<A> + (I ^ S) : I)
                                            : (I & S ? lanes<A> + I : I ^ S))...});
#endif
}
template <typename A, int S = 1> INLINE void transpose_square(vec_t<A>* x) {
  using All = std::make_integer_sequence<int, lanes<A>>;
  if constexpr (S < lanes<A>) {
    for (int r = 0; r < lanes<A>; r++)
      if (!(r & S)) {
        vec_t<A> a = x[r], b = x[r + S];
        x[r] = exchanged<A, S, true>(a, b, All()), x[r + S] = exchanged<A, S, false>(a, b, All());
      }
    transpose_square<A, 2 * S>(x);
  }
}

// Part of the matrix from (rows, columns) -> its part of to (columns, rows).
template <typename From, typename To>
void transpose(const From* from, int64_t rows, int64_t columns, int64_t first_row, int64_t last_row,
               int64_t first_column, int64_t last_column, To* to) {
  using A = wide_t<From>;
  each_lanes<A>(last_row - first_row, [&](int64_t i, auto height) INLINE_BODY {
    i += first_row;
    each_lanes<A>(last_column - first_column, [&](int64_t j, auto width) INLINE_BODY {
      j += first_column;
      vec_t<A> square[lanes<A>] = {};
      for (int k = 0; k < lane_count<A>(height); k++)
        square[k] = load_lanes(from + (i + k) * columns + j, width);
      transpose_square<A>(square);
      for (int k = 0; k < lane_count<A>(width); k++)
        store_lanes(to + (j + k) * rows + i, square[k], height);
    });
  });
}

// The samples of maps as a layer reads and writes them, one after the other.
template <typename T> struct Samples {
  using Value = T;
  const Parallel& parallel;
  Shape s;
  const T* in[2];
  T* out;
  int64_t start(int64_t n) const { return n * s.c * s.plane(); }
  const T* input(int i, int64_t n) const { return in[i] + start(n); }
  T* output(int64_t n) const { return out + start(n); }
  void done(int64_t) const {}
};

// The same with the channels last, of maps that have them first; the output is written over the
// first input.
template <typename T> struct TransposedSamples {
  using Value = wide_t<T>;
  const Samples<T> maps;
  const Buffer<Value> first, second;
  TransposedSamples(const Parallel& parallel, Shape s, std::array<const T*, 2> in, T* out)
      : maps{parallel, s, {in[0], in[1]}, out}, first(s.c * s.plane()),
        second(in[1] ? s.c * s.plane() : 0) {}
  const Value* input(int i, int64_t n) const {
    Value* to = (i ? second : first).at(0);
    const Shape s = maps.s;
    over_channels(maps.parallel, s.c, [&](int64_t c, int64_t end) {
      transpose(maps.input(i, n), s.c, s.plane(), c, end, 0, s.plane(), to);
    });
    return to;
  }
  Value* output(int64_t) const { return first.at(0); }
  void done(int64_t n) const {
    const Shape s = maps.s;
    over_channels(maps.parallel, s.c, [&](int64_t c, int64_t end) {
      transpose<Value, T>(first.at(0), s.plane(), s.c, 0, s.plane(), c, end, maps.output(n));
    });
  }
};

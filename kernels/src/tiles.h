// Statistics of planes in both layouts by the same code: a tile is one plane, its places along
// the lanes, or with channels_last as many channels as there are lanes. A kernel takes each of
// its vectors in turn, as often as it needs to, from the cache but for the first time. Included
// once for each level of vector instructions.

// The lanes beyond the first `count` become `other`.
template <typename T> INLINE vec_t<T> only(vec_t<T> x, All, vec_t<T> = vec_t<T>()) { return x; }
template <typename T> INLINE vec_t<T> only(vec_t<T> x, int count, vec_t<T> other = vec_t<T>()) {
  typename Lanes<wide_t<T>>::index lane;
  for (int i = 0; i < lanes<T>; i++) lane[i] = i;
  return lane < count ? x : other;
}

// Lane l is x[l ^ FLIP].
template <typename T, int FLIP> INLINE vec_t<T> flipped(vec_t<T> x) {
  return pick<T, 0, FLIP>(x, x, std::make_integer_sequence<int, lanes<T>>());
}

// The sum of all lanes, in every lane; the largest of them.
template <typename T, int FLIP = lanes<T> / 2> INLINE vec_t<T> sum_everywhere(vec_t<T> x) {
  if constexpr (FLIP > 0) return sum_everywhere<T, FLIP / 2>(x + flipped<T, FLIP>(x));
  return x;
}
template <typename T, int FLIP = lanes<T> / 2> INLINE vec_t<T> highest_everywhere(vec_t<T> x) {
  if constexpr (FLIP > 0) {
    vec_t<T> y = flipped<T, FLIP>(x);
    return highest_everywhere<T, FLIP / 2>(x > y ? x : y);
  }
  return x;
}

// Sums lose less in parts of so many vectors, and of so many parts.
constexpr int64_t PART = 64;

// Sums that a kernel takes at once: it adds to `part`.
template <typename T, int N> struct Sums {
  vec_t<T> part[N] = {}, more[N] = {}, most[N] = {};
  int64_t parts = 0;
  INLINE void operator()() {
    bool full = ++parts % PART == 0;
    for (int i = 0; i < N; i++) {
      more[i] += part[i], part[i] = vec_t<T>();
      if (full) most[i] += more[i], more[i] = vec_t<T>();
    }
  }
  INLINE vec_t<T> operator[](int i) const { return most[i] + more[i]; }
};
struct NoSums {
  INLINE void operator()() const {}
};

// Where a tile's channels lie in a map with their order changed.
template <typename T> struct MovedPlane {
  int64_t start;
  template <typename Count> INLINE vec_t<T> load(const T* x, int64_t i, Count count) const {
    return load_lanes(x + start + i, count);
  }
  template <typename Count>
  INLINE void store(T* x, int64_t i, vec_t<T> values, Count count) const {
    store_lanes(x + start + i, values, count);
  }
};
template <typename T> struct MovedChannels {
  int64_t start, count;
  const int64_t* to;
  template <typename Count> INLINE vec_t<T> load(const T* x, int64_t i, Count) const {
    T values[lanes<T>] = {};
    for (int l = 0; l < count; l++) values[l] = x[start + i + to[l]];
    return load_lanes(values, All());
  }
  template <typename Count> INLINE void store(T* x, int64_t i, vec_t<T> values, Count) const {
    T all[lanes<T>];
    store_lanes(all, values, All());
    for (int l = 0; l < count; l++) x[start + i + to[l]] = all[l];
  }
};

// One plane.
template <typename T> struct PlaneTile {
  int64_t size;
  // body(where in the tile, where in a buffer of `vectors()`, how many lanes)
  template <typename Body, typename S = NoSums>
  INLINE void each(const Body& body, S&& sums = S()) const {
    for (int64_t begin = 0; begin < size; begin += PART * lanes<T>, sums())
      each_lanes<T>(std::min(size - begin, PART * lanes<T>), [&](int64_t i, auto count)
                        INLINE_BODY { body(begin + i, begin + i, count); });
  }
  int64_t vectors() const { return padded<T>(size) / lanes<T>; }
  // Of a sum over the vectors, that over the plane; of a maximum likewise.
  INLINE vec_t<T> total(vec_t<T> sum) const { return sum_everywhere<T>(sum); }
  INLINE vec_t<T> highest(vec_t<T> most) const { return highest_everywhere<T>(most); }
  // One value for each of the tile's channels.
  template <typename S> INLINE void keep(S* to, vec_t<S> values) const {
    *to = store<S>(values[0]);
  }
  template <typename S> INLINE vec_t<S> kept(const S* from) const {
    return vec_t<S>() + load(*from);
  }
  MovedPlane<T> moved(Shape s, int64_t n, const int64_t* to) const {
    return {(n * s.c + *to) * size};
  }
};

// Channels of a map in channels_last, `All` or the last ones.
template <typename T, typename Count> struct ChannelsTile {
  int64_t size, channels;
  Count count;
  template <typename Body, typename S = NoSums>
  INLINE void each(const Body& body, S&& sums = S()) const {
    for (int64_t begin = 0; begin < size; begin += PART, sums())
      for (int64_t i = begin; i < std::min(size, begin + PART); i++)
        body(i * channels, i * lanes<T>, count);
  }
  int64_t vectors() const { return size; }
  INLINE vec_t<T> total(vec_t<T> sum) const { return sum; }
  INLINE vec_t<T> highest(vec_t<T> most) const { return most; }
  template <typename S> INLINE void keep(S* to, vec_t<S> values) const {
    store_lanes(to, values, count);
  }
  template <typename S> INLINE vec_t<S> kept(const S* from) const {
    return load_lanes(from, count);
  }
  MovedChannels<T> moved(Shape s, int64_t n, const int64_t* to) const {
    return {n * size * s.c, lane_count<T>(count), to};
  }
};

// body(tile, where it begins in the map, n C + c of its first channel, a buffer).
template <typename T, typename Body>
void over_tiles(const Parallel& parallel, Shape s, const Body& body) {
  int64_t size = s.plane();
  if (!s.channels_last) {
    parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
      PlaneTile<T> tile{size};
      Buffer<wide_t<T>> buffer(tile.vectors() * lanes<T>);
      for (int64_t i = begin; i < end; i++) body(tile, i * size, i, buffer.at(0));
    });
    return;
  }
  int64_t tiles = (s.c + lanes<T> - 1) / lanes<T>;
  parallel(s.n * tiles, [&](int64_t begin, int64_t end) {
    Buffer<wide_t<T>> buffer(size * lanes<T>);
    for (int64_t i = begin; i < end; i++) {
      int64_t n = i / tiles, c = i % tiles * lanes<T>, start = n * size * s.c + c;
      if (c + lanes<T> <= s.c)
        body(ChannelsTile<T, All>{size, s.c, All()}, start, n * s.c + c, buffer.at(0));
      else
        body(ChannelsTile<T, int>{size, s.c, int(s.c - c)}, start, n * s.c + c, buffer.at(0));
    }
  });
}

template <typename T, typename Tile> INLINE vec_t<T> mean_of(const Tile& tile, const T* x) {
  Sums<T, 1> sum;
  tile.each([&](int64_t i, int64_t, auto count)
                INLINE_BODY { sum.part[0] += load_lanes(x + i, count); }, sum);
  return tile.total(sum[0]) / wide_t<T>(tile.size);
}

template <typename T, typename Tile>
INLINE vec_t<T> variance_of(const Tile& tile, const T* x, vec_t<T> mean) {
  Sums<T, 1> sum;
  tile.each([&](int64_t i, int64_t, auto count) INLINE_BODY {
    vec_t<T> d = only<T>(load_lanes(x + i, count) - mean, count);
    sum.part[0] += d * d;
  }, sum);
  return tile.total(sum[0]) / wide_t<T>(tile.size);
}

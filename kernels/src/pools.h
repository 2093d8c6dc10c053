// Means and maxima: of planes, and over the channels of a gated map; see
// mmattn/kernels/mean_max.py and channel_pool.py. Included once for each level of vector
// instructions.

template <typename V> INLINE V larger(V a, V b) { return a > b ? a : b; }

template <typename T>
void mean_max(const Parallel& parallel, Shape s, const T* x, T* mean, T* peak) {
  over_tiles<T>(parallel, s, [&](const auto& tile, int64_t start, int64_t c, auto*) {
    Sums<T, 1> sum;
    vec_t<T> lowest = vec_t<T>() - std::numeric_limits<wide_t<T>>::infinity(), most = lowest;
    tile.each([&](int64_t i, int64_t, auto count) INLINE_BODY {
      vec_t<T> value = load_lanes(x + start + i, count);
      sum.part[0] += value;
      most = larger(most, only<T>(value, count, lowest));
    }, sum);
    tile.keep(mean + c, tile.total(sum[0]) / wide_t<T>(tile.size));
    tile.keep(peak + c, tile.highest(most));
  });
}

template <typename T>
void mean_max_backward(const Parallel& parallel, Shape s, const T* grad_mean, const T* grad_peak,
                       const T* x, const T* peak, T* dx) {
  over_tiles<T>(parallel, s, [&](const auto& tile, int64_t start, int64_t c, auto*) {
    vec_t<T> most = tile.kept(peak + c), one = vec_t<T>() + 1, none = {};
    Sums<T, 1> ties;
    tile.each([&](int64_t i, int64_t, auto count) INLINE_BODY {
      vec_t<T> is = load_lanes(x + start + i, count) == most ? one : none;
      ties.part[0] += only<T>(is, count);
    }, ties);
    vec_t<T> even = tile.kept(grad_mean + c) / wide_t<T>(tile.size);
    vec_t<T> share = even + tile.kept(grad_peak + c) / tile.total(ties[0]);
    tile.each([&](int64_t i, int64_t, auto count) INLINE_BODY {
      vec_t<T> value = load_lanes(x + start + i, count);
      store_lanes(dx + start + i, value == most ? share : even, count);
    });
  });
}

// body(n, block, its first place, how many places)
template <typename Body>
void over_places(const Parallel& parallel, Shape s, const Body& body) {
  int64_t blocks = blocks_of(s);
  parallel(s.n * blocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      int64_t first = i % blocks * PLACES;
      body(i / blocks, i % blocks, first, std::min(PLACES, s.plane() - first));
    }
  });
}

// planes: (N, 2, H, W), maximum and mean; peak: (N, H, W), the maximum before it is rounded.
template <typename T>
void channel_pool(const Parallel& parallel, Shape s, const T* x, const T* gates, T* planes,
                  wide_t<T>* peak) {
  using A = wide_t<T>;
  const vec_t<T> lowest = vec_t<T>() - std::numeric_limits<A>::infinity();
  over_places(parallel, s, [&](int64_t n, int64_t, int64_t first, int64_t places) {
    Buffer<A> buffer(2 * PLACES);
    A *most = buffer.at(0), *sum = buffer.at(PLACES);
    const T* from = x + n * s.c * s.plane() + first * (s.channels_last ? s.c : 1);
    const T* g = gates + n * s.c;
    if (s.channels_last) {
      for (int64_t p = 0; p < places; p++) {
        vec_t<T> high = lowest, total = {};
        each_lanes<T>(s.c, [&](int64_t c, auto count) INLINE_BODY {
          vec_t<T> value = load_lanes(from + p * s.c + c, count) * load_lanes(g + c, count);
          high = larger(high, only<T>(value, count, lowest));
          total += value;
        });
        most[p] = highest_everywhere<T>(high)[0];
        sum[p] = sum_everywhere<T>(total)[0];
      }
    } else {
      std::fill(most, most + PLACES, lowest[0]);
      std::fill(sum, sum + PLACES, A(0));
      for (int64_t c = 0; c < s.c; c++) {
        A factor = load(g[c]);
        each_lanes<T>(places, [&](int64_t i, auto count) INLINE_BODY {
          vec_t<T> value = load_lanes(from + c * s.plane() + i, count) * factor;
          store_lanes(most + i, larger(load_lanes(most + i, All()), value), All());
          store_lanes(sum + i, load_lanes(sum + i, All()) + value, All());
        });
      }
    }
    T* to = planes + 2 * n * s.plane() + first;
    for (int64_t i = 0; i < places; i++) {
      peak[n * s.plane() + first + i] = most[i];
      to[i] = store<T>(most[i]);
      to[s.plane() + i] = store<T>(sum[i] / s.c);
    }
  });
}

// dgates: (N, blocks, C), one sum for each block of places.
template <typename T>
void channel_pool_backward(const Parallel& parallel, Shape s, const T* grad, const T* x,
                           const T* gates, const wide_t<T>* peak, T* dx, wide_t<T>* dgates) {
  using A = wide_t<T>;
  over_places(parallel, s, [&](int64_t n, int64_t block, int64_t first, int64_t places) {
    const vec_t<T> one = vec_t<T>() + 1, none = {};
    Buffer<A> buffer(2 * PLACES);
    A *share = buffer.at(0), *even = buffer.at(PLACES);
    int64_t start = n * s.c * s.plane() + first * (s.channels_last ? s.c : 1);
    const T *from = x + start, *g = gates + n * s.c;
    T* to = dx + start;
    const A* most = peak + n * s.plane() + first;
    A* dg = dgates + (n * blocks_of(s) + block) * s.c;
    // What goes to each channel, and what besides to those of the maximum.
    const T* with = grad + 2 * n * s.plane() + first;
    for (int64_t i = 0; i < places; i++) even[i] = load(with[s.plane() + i]) / s.c;
    if (s.channels_last) {
      std::fill(dg, dg + s.c, A(0));
      for (int64_t p = 0; p < places; p++) {
        vec_t<T> ties = {};
        each_lanes<T>(s.c, [&](int64_t c, auto count) INLINE_BODY {
          vec_t<T> value = load_lanes(from + p * s.c + c, count) * load_lanes(g + c, count);
          ties += only<T>(value == most[p] ? one : none, count);
        });
        vec_t<T> rest = none + even[p];
        vec_t<T> all = rest + load(with[p]) / sum_everywhere<T>(ties);
        each_lanes<T>(s.c, [&](int64_t c, auto count) INLINE_BODY {
          vec_t<T> value = load_lanes(from + p * s.c + c, count), factor = load_lanes(g + c, count);
          vec_t<T> d = value * factor == most[p] ? all : rest;
          store_lanes(to + p * s.c + c, d * factor, count);
          add_lanes(dg + c, d * value, count);
        });
      }
      return;
    }
    std::fill(share, share + PLACES, A(0));
    for (int64_t c = 0; c < s.c; c++) {
      A factor = load(g[c]);
      each_lanes<T>(places, [&](int64_t i, auto count) INLINE_BODY {
        vec_t<T> value = load_lanes(from + c * s.plane() + i, count) * factor;
        vec_t<T> is = value == load_lanes(most + i, count) ? one : none;
        store_lanes(share + i, load_lanes(share + i, All()) + is, All());
      });
    }
    for (int64_t i = 0; i < places; i++) share[i] = even[i] + load(with[i]) / share[i];
    for (int64_t c = 0; c < s.c; c++) {
      A factor = load(g[c]);
      vec_t<T> sum = {};
      each_lanes<T>(places, [&](int64_t i, auto count) INLINE_BODY {
        vec_t<T> value = load_lanes(from + c * s.plane() + i, count);
        vec_t<T> d = value * factor == load_lanes(most + i, count) ? load_lanes(share + i, count)
                                                                   : load_lanes(even + i, count);
        store_lanes(to + c * s.plane() + i, d * factor, count);
        sum += d * value;
      });
      dg[c] = sum_everywhere<T>(sum)[0];
    }
  });
}

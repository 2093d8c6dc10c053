// The gradients of a map times its gates, in one read of the map and the output's gradient.
// Included once for each level of vector instructions.

// Partial sums of the planes' gradients -> (N, P, H, W): `parts` of each in turn, a row of them
// `stride` apart.
template <typename T>
void sum_planes(const Parallel& parallel, Shape s, int64_t planes, int64_t parts, int64_t stride,
                wide_t<T> scale, const wide_t<T>* from, T* to) {
  parallel(planes * s.h, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const wide_t<T>* first = from + (i / s.h * parts * s.h + i % s.h) * stride;
      for (int64_t w = 0; w < s.w; w++) {
        wide_t<T> sum = 0;
        for (int64_t k = 0; k < parts; k++) sum += first[k * s.h * stride + w];
        to[i * s.w + w] = store<T>(scale * sum);
      }
    }
  });
}

template <typename T, bool COLUMNS, bool PLANES>
void gate_backward_nchw(const Parallel& parallel, Shape s, const Gates<T>& g, const T* grad,
                        const T* x, const GateGrads<T>& d) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  constexpr int L = lanes<T>;
  const A scale = g.scale ? *g.scale : A(1), rest = 1 - scale;
  const int64_t stride = padded<T>(s.w);
  // A unit of work: a channel, or where they share a plane part of its channels.
  const int64_t group = PLANES ? s.c / g.groups : 1, blocks = s.n * s.c / group;
  const int64_t parts = PLANES ? parts_of(blocks, group) : 1;
  Buffer<A> partial(PLANES ? blocks * parts * s.h * stride : 0);
  parallel(blocks * parts, [&](int64_t begin, int64_t end) {
    Buffer<A> down(COLUMNS ? stride : 0);
    for (int64_t unit = begin; unit < end; unit++) {
      A* sums = PLANES ? partial.at(unit * s.h * stride) : nullptr;
      if (PLANES) std::fill(sums, sums + s.h * stride, A(0));
      const int64_t first = unit / parts * group;
      for (int64_t i = first + part_start(group, parts, unit % parts);
           i < first + part_start(group, parts, unit % parts + 1); i++) {
        const T* plane = PLANES ? plane_of(s, g, i) : nullptr;
        const A channel = g.channels ? load(g.channels[i]) : A(1);
        V total = {}, change = {};
        if (COLUMNS) std::fill(down.at(0), down.at(stride), A(0));
        V along[L];
        for (int64_t h = 0; h < s.h; h++) {
          const A row = g.rows ? load(g.rows[i * s.h + h]) : A(1);
          const int64_t offset = (i * s.h + h) * s.w;
          V sum = {};
          each_lanes<T>(s.w, [&](int64_t w, auto count) INLINE_BODY {
            V out = load_lanes(grad + offset + w, count), in = load_lanes(x + offset + w, count);
            V product = out * in, a = V{} + channel * row, column = {};
            if (COLUMNS) {
              column = load_lanes(g.columns + i * s.w + w, count);
              a *= column;
            }
            Factor<V> f = {a, V{} + 1, a};
            if (PLANES)
              f = joined(g.join, a, load_lanes(plane + h * s.w + w, count), in);
            store_lanes(d.x + offset + w, out * (rest + scale * f.whole), count);
            if (d.scale) change += product * (f.whole - 1);
            if (PLANES) *(V*)(sums + h * stride + w) += product * f.part_b;
            product *= f.part_a;
            if (COLUMNS) {
              *(V*)down.at(w) += product * row;
              product *= column;
            }
            sum += product;
          });
          if (!g.rows) {
            total += sum;
            continue;
          }
          along[h % L] = sum;
          if (h % L < L - 1 && h < s.h - 1) continue;
          for (int64_t k = h % L + 1; k < L; k++) along[k] = V{};
          const int64_t start = h / L * L;
          V sum_rows = sum_each<T>(along);
          if (h % L == L - 1) {
            total += sum_rows * load_lanes(g.rows + i * s.h + start, All());
            store_lanes(d.rows + i * s.h + start, sum_rows * (scale * channel), All());
          } else {
            total += sum_rows * load_lanes(g.rows + i * s.h + start, int(s.h - start));
            store_lanes(d.rows + i * s.h + start, sum_rows * (scale * channel), int(s.h - start));
          }
        }
        if (d.channels) d.channels[i] = store<T>(scale * sum_lanes(total));
        if (d.scale) d.scale[i] = sum_lanes(change);
        if (COLUMNS)
          each_lanes<T>(s.w, [&](int64_t w, auto count) INLINE_BODY {
            store_lanes(d.columns + i * s.w + w, *(V*)down.at(w) * (scale * channel), count);
          });
      }
    }
  });
  if (PLANES) sum_planes<T>(parallel, s, blocks, parts, stride, scale, partial.at(0), d.planes);
}

// Sums (size, C) of part of a sample's channels -> (C, size), times scale and the channels' gates.
template <typename T>
void store_transposed(const wide_t<T>* sums, const T* channels, wide_t<T> scale, int64_t c,
                      int64_t size, T* to) {
  for (int64_t i = 0; i < c; i++) {
    wide_t<T> factor = channels ? scale * load(channels[i]) : scale;
    for (int64_t k = 0; k < size; k++) to[i * size + k] = store<T>(factor * sums[k * c + i]);
  }
}

template <typename T, bool COLUMNS>
void gate_backward_nhwc(const Parallel& parallel, Shape s, const Gates<T>& g, const T* grad,
                        const T* x, const GateGrads<T>& d) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  const A scale = g.scale ? *g.scale : A(1), rest = 1 - scale;
  // A unit of work: some groups of channels of a sample, or part of its only group.
  const int64_t parts = g.groups == 1 ? parts_of(s.n, s.c / 32) : parts_of(s.n, g.groups);
  const int64_t step = g.groups == 1 ? 1 : s.c / g.groups, steps = s.c / step;
  Buffer<A> partial(d.planes ? s.n * std::max(parts, g.groups) * s.plane() : 0);
  parallel(s.n * parts, [&](int64_t begin, int64_t end) {
    const int64_t most = (steps + parts - 1) / parts * step;
    Buffer<A> row_gates(s.h * most), column_gates(s.w * most), row_sums(s.h * most),
        column_sums(s.w * most), channel_sums(padded<T>(most)), changes(padded<T>(most));
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t n = unit / parts, part = unit % parts;
      const int64_t from = part_start(steps, parts, part) * step;
      const int64_t c = part_start(steps, parts, part + 1) * step - from;
      const int64_t width = g.groups == 1 ? c : step, first = n * s.c + from;
      const T* channels = g.channels ? g.channels + first : nullptr;
      channels_last_gates<T>(g.rows ? g.rows + first * s.h : nullptr, nullptr, c, s.h,
                             g.rows ? s.h : 1, row_gates.at(0));
      if (COLUMNS)
        channels_last_gates<T>(g.columns + first * s.w, nullptr, c, s.w, s.w, column_gates.at(0));
      if (COLUMNS) std::fill(column_sums.at(0), column_sums.at(s.w * c), A(0));
      std::fill(row_sums.at(0), row_sums.at((g.rows ? s.h : 1) * c), A(0));
      std::fill(changes.at(0), changes.at(c), A(0));
      for (int64_t h = 0; h < s.h; h++) {
        const A* row = row_gates.at(g.rows ? h * c : 0);
        A* sums = row_sums.at(g.rows ? h * c : 0);
        for (int64_t w = 0; w < s.w; w++) {
          const int64_t place = h * s.w + w;
          for (int64_t k = 0; k < c; k += width) {
            const int64_t p = g.groups == 1 ? 0 : (from + k) / step;
            const A plane =
                g.planes ? load(g.planes[(n * g.groups + p) * s.plane() + place]) : A(1);
            const int64_t offset = (n * s.plane() + place) * s.c + from + k;
            V to_plane = {};
            each_lanes<T>(width, [&](int64_t j, auto count) INLINE_BODY {
              V out = load_lanes(grad + offset + j, count), in = load_lanes(x + offset + j, count);
              V product = out * in, row_gate = load_lanes(row + k + j, count), a = row_gate;
              V column = {};
              if (channels) a *= load_lanes(channels + k + j, count);
              if (COLUMNS) {
                column = load_lanes(column_gates.at(w * c + k + j), count);
                a *= column;
              }
              Factor<V> f = joined(g.join, a, V{} + plane, in);
              store_lanes(d.x + offset + j, out * (rest + scale * f.whole), count);
              to_plane += product * f.part_b;
              if (d.scale)
                add_lanes(changes.at(k + j), product * (f.whole - 1), count);
              product *= f.part_a;
              if (COLUMNS) {
                add_lanes(column_sums.at(w * c + k + j), product * row_gate, count);
                product *= column;
              }
              add_lanes(sums + k + j, product, count);
            });
            if (d.planes) {
              const int64_t which = g.groups == 1 ? unit : n * g.groups + p;
              *partial.at(which * s.plane() + place) = sum_lanes(to_plane);
            }
          }
        }
      }
      for (int64_t j = 0; d.channels && j < c; j++) {
        A sum = g.rows ? A(0) : *row_sums.at(j);
        for (int64_t h = 0; g.rows && h < s.h; h++)
          sum += *row_sums.at(h * c + j) * *row_gates.at(h * c + j);
        d.channels[first + j] = store<T>(scale * sum);
      }
      if (d.scale) std::copy(changes.at(0), changes.at(c), d.scale + first);
      if (d.rows) store_transposed<T>(row_sums.at(0), channels, scale, c, s.h, d.rows + first * s.h);
      if (COLUMNS)
        store_transposed<T>(column_sums.at(0), channels, scale, c, s.w, d.columns + first * s.w);
    }
  });
  if (d.planes)
    sum_planes<T>(parallel, s, s.n * g.groups, g.groups == 1 ? parts : 1, s.w, scale,
                  partial.at(0), d.planes);
}

template <typename T>
void gate_backward(const Parallel& parallel, Shape s, const Gates<T>& g, const T* grad, const T* x,
                   const GateGrads<T>& d) {
  if (s.channels_last)
    return (g.columns ? gate_backward_nhwc<T, true> : gate_backward_nhwc<T, false>)(parallel, s, g,
                                                                                   grad, x, d);
  if (!g.rows && !g.columns) s = s.flat();
  auto run = g.planes
                 ? (g.columns ? gate_backward_nchw<T, true, true> : gate_backward_nchw<T, false, true>)
                 : (g.columns ? gate_backward_nchw<T, true, false>
                              : gate_backward_nchw<T, false, false>);
  run(parallel, s, g, grad, x, d);
}

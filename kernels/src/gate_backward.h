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

// NARROW: a row is no longer than a vector, so that the sums of the columns stay in a register.
template <typename T, bool COLUMNS, bool PLANES, bool NARROW>
void gate_backward_nchw(const Parallel& parallel, Shape s, const Gates<T>& g, const T* grad,
                        const T* x, const GateGrads<T>& d) {
  using A = wide_t<T>;
  using V = vec_t<T>;
  const A scale = g.scale ? *g.scale : A(1), rest = 1 - scale;
  const int64_t stride = padded<T>(s.w);
  // A unit of work: a channel, or where they share a plane part of its channels.
  const int64_t group = PLANES ? s.c / g.groups : 1, blocks = s.n * s.c / group;
  const int64_t parts = PLANES ? parts_of(blocks, group) : 1;
  Buffer<A> partial(PLANES && parts > 1 ? blocks * parts * s.h * stride : 0);
  parallel(blocks * parts, [&](int64_t begin, int64_t end) {
    Buffer<A> down(COLUMNS ? stride : 0), own(PLANES && parts == 1 ? s.h * stride : 0);
    for (int64_t unit = begin; unit < end; unit++) {
      A* sums = parts > 1 ? partial.at(unit * s.h * stride) : own.at(0);
      if (PLANES) std::fill(sums, sums + s.h * stride, A(0));
      const int64_t first = unit / parts * group;
      for (int64_t i = first + part_start(group, parts, unit % parts);
           i < first + part_start(group, parts, unit % parts + 1); i++) {
        const T* plane = PLANES ? plane_of(s, g, i) : nullptr;
        const A channel = g.channels ? load(g.channels[i]) : A(1);
        V total = {}, change = {}, narrow = {};
        if (COLUMNS && !NARROW) std::fill(down.at(0), down.at(stride), A(0));
        RowSums<T> along;
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
              (NARROW ? narrow : *(V*)down.at(w)) += product * row;
              product *= column;
            }
            sum += product;
          });
          if (g.rows)
            along.add(h, s.h, sum, [&](int64_t start, V sums, auto count) INLINE_BODY {
              total += sums * load_lanes(g.rows + i * s.h + start, count);
              store_lanes(d.rows + i * s.h + start, sums * (scale * channel), count);
            });
          else
            total += sum;
        }
        if (d.channels) d.channels[i] = store<T>(scale * sum_lanes(total));
        if (d.scale) d.scale[i] = sum_lanes(change);
        if (COLUMNS)
          each_lanes<T>(s.w, [&](int64_t w, auto count) INLINE_BODY {
            V sum = NARROW ? narrow : *(V*)down.at(w);
            store_lanes(d.columns + i * s.w + w, sum * (scale * channel), count);
          });
      }
      for (int64_t h = 0; PLANES && parts == 1 && h < s.h; h++)
        each_lanes<T>(s.w, [&](int64_t w, auto count) INLINE_BODY {
          V sum = *(V*)(sums + h * stride + w);
          store_lanes(d.planes + (unit * s.h + h) * s.w + w, sum * scale, count);
        });
    }
  });
  if (parts > 1) sum_planes<T>(parallel, s, blocks, parts, stride, scale, partial.at(0), d.planes);
}

// (size, C) -> (C, size), times scale and the channels' gates.
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
  const int64_t group = s.c / g.groups, column_size = COLUMNS ? s.w * s.c : 0;
  const ChannelsLastGates<T, COLUMNS> wide(parallel, s, g);
  // A unit of work: some rows of a sample, of which it has sums of its own: of each row, each
  // column, each channel, and of the changes that scale makes.
  const int64_t parts = parts_of(s.n, s.h / 4), most = g.rows ? s.h : 0;
  Buffer<A> row_sums(s.n * most * s.c), column_sums(s.n * parts * column_size),
      channel_sums(s.n * parts * s.c), changes(s.n * parts * s.c);
  parallel(s.n * parts, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t n = unit / parts, part = unit % parts;
      A *columns = column_sums.at(unit * column_size), *channels = channel_sums.at(unit * s.c),
        *change = changes.at(unit * s.c);
      std::fill(columns, columns + column_size, A(0));
      std::fill(channels, channels + s.c, A(0));
      std::fill(change, change + s.c, A(0));
      for (int64_t h = part_start(s.h, parts, part); h < part_start(s.h, parts, part + 1); h++) {
        const A* row = wide.row(n, h);
        A* sums = g.rows ? row_sums.at((n * s.h + h) * s.c) : channels;
        if (g.rows) std::fill(sums, sums + s.c, A(0));
        for (int64_t w = 0; w < s.w; w++) {
          const A* column = wide.column(n, w);
          A* column_to = columns + w * s.c;
          for (int64_t p = 0; p < g.groups; p++) {
            const int64_t place = (n * g.groups + p) * s.plane() + h * s.w + w, first = p * group;
            const int64_t offset = ((n * s.h + h) * s.w + w) * s.c + first;
            const A plane = g.planes ? load(g.planes[place]) : A(1);
            V to_plane = {};
            each_lanes<T>(group, [&](int64_t c, auto count) INLINE_BODY {
              V out = load_lanes(grad + offset + c, count), in = load_lanes(x + offset + c, count);
              V product = out * in, gate = load_lanes(row + first + c, count), a = gate;
              V other = {};
              if (COLUMNS) {
                other = load_lanes(column + first + c, count);
                a *= other;
              }
              Factor<V> f = joined(g.join, a, V{} + plane, in);
              store_lanes(d.x + offset + c, out * (rest + scale * f.whole), count);
              if (d.scale) add_lanes(change + first + c, product * (f.whole - 1), count);
              to_plane += product * f.part_b;
              product *= f.part_a;
              if (COLUMNS) {
                add_lanes(column_to + first + c, product * gate, count);
                product *= other;
              }
              add_lanes(sums + first + c, product, count);
            });
            if (d.planes) d.planes[place] = store<T>(scale * sum_lanes(to_plane));
          }
        }
        // The gates of the rows hold those of the channels.
        if (g.rows && d.channels)
          for (int64_t c = 0; c < s.c; c++)
            channels[c] += sums[c] * load(g.rows[(n * s.c + c) * s.h + h]);
      }
    }
  });
  parallel(s.n, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++) {
      const T* channels = g.channels ? g.channels + n * s.c : nullptr;
      auto join_parts = [&](const Buffer<A>& sums, int64_t size) {
        A* all = sums.at(n * parts * size);
        for (int64_t k = 1; k < parts; k++)
          for (int64_t i = 0; i < size; i++) all[i] += all[k * size + i];
        return all;
      };
      const A* sums = join_parts(channel_sums, s.c);
      // Without rows, wide.row is the channels' gate, and no factor of these sums.
      for (int64_t c = 0; d.channels && c < s.c; c++)
        d.channels[n * s.c + c] = store<T>(scale * sums[c]);
      if (d.scale) std::copy_n(join_parts(changes, s.c), s.c, d.scale + n * s.c);
      if (d.rows)
        store_transposed<T>(row_sums.at(n * s.h * s.c), channels, scale, s.c, s.h,
                            d.rows + n * s.c * s.h);
      // These sums have their factors from the channels already, in the rows' gates.
      if (COLUMNS)
        store_transposed<T>(join_parts(column_sums, column_size), nullptr, scale, s.c, s.w,
                            d.columns + n * s.c * s.w);
    }
  });
}

template <typename T>
void gate_backward(const Parallel& parallel, Shape s, const Gates<T>& g, const T* grad, const T* x,
                   const GateGrads<T>& d) {
  if (s.channels_last)
    return (g.columns ? gate_backward_nhwc<T, true> : gate_backward_nhwc<T, false>)(parallel, s, g,
                                                                                   grad, x, d);
  if (!g.rows && !g.columns) s = s.flat();
  const bool narrow = s.w <= lanes<T>;
  auto run = gate_backward_nchw<T, false, false, false>;
  if (g.planes && g.columns)
    run = narrow ? gate_backward_nchw<T, true, true, true> : gate_backward_nchw<T, true, true, false>;
  else if (g.planes)
    run = gate_backward_nchw<T, false, true, false>;
  else if (g.columns)
    run = narrow ? gate_backward_nchw<T, true, false, true>
                 : gate_backward_nchw<T, true, false, false>;
  run(parallel, s, g, grad, x, d);
}

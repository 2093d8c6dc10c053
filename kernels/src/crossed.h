// EMA's two branches: see mmattn/kernels/crossed.py. Included once for each level of vector
// instructions.

// to = the gates of rows and columns of plane c, 0 in the gaps.
template <typename T>
void cross_gates(Padded p, const Crossed<T>& in, int64_t c, wide_t<T>* to) {
  for (int64_t h = 0; h < p.h; h++)
    for (int64_t w = 0; w < p.w; w++)
      to[h * p.stride + w] = load(in.rows[c * p.h + h]) * load(in.columns[c * p.w + w]);
}

// planes: (N, groups, H, W); mean and scale (one over the deviation) of each gated plane: (N, C).
template <typename T>
void crossed(const Parallel& parallel, Shape s, const Crossed<T>& in, T* planes, wide_t<T>* mean,
             wide_t<T>* scale) {
  using A = wide_t<T>;
  Padded p(s, 1);
  int64_t width = s.c / in.groups, size = s.plane();
  Shape result{s.n, in.groups, s.h, s.w, false};
  parallel(s.n * in.groups, [&](int64_t begin, int64_t end) {
    Buffer<A> buffer(p.room + 3 * p.size);
    std::fill_n(buffer.at(0), p.room + 3 * p.size, A(0));
    A *plane = buffer.at(p.origin), *gates = buffer.at(p.room), *mask = gates + p.size;
    A* sum = mask + p.size;
    inside(p, mask);
    for (int64_t i = begin; i < end; i++) {
      std::fill_n(sum, p.size, A(0));
      for (int64_t k = 0; k < width; k++) {
        int64_t c = i * width + k;  // of all N C
        take_plane(s, p, in.x, c / s.c, c % s.c, plane);
        cross_gates(p, in, c, gates);
        vec_t<A> total = {}, squares = {};
        for (int64_t j = 0; j < p.size; j += lanes<A>) {
          vec_t<A> value = load_lanes(plane + j, All()) * load_lanes(gates + j, All());
          store_lanes(gates + j, value, All());
          total += value;
        }
        A middle = mean[c] = sum_everywhere<A>(total)[0] / size;
        for (int64_t j = 0; j < p.size; j += lanes<A>) {
          vec_t<A> d = (load_lanes(gates + j, All()) - middle) * load_lanes(mask + j, All());
          squares += d * d;
        }
        scale[c] = 1 / std::sqrt(sum_everywhere<A>(squares)[0] / size + A(in.eps));
        A factor = in.weights[c] * scale[c];
        convolve(p, Taps<A>(p, in.kernel + k * 9, 3, 3), plane, [&](int64_t j, vec_t<A> local) INLINE_BODY {
          vec_t<A> d = load_lanes(gates + j, All()) - middle;
          store_lanes(sum + j, load_lanes(sum + j, All()) + local + factor * d, All());
        });
      }
      put_plane(result, p, planes, i / in.groups, i % in.groups, sum);
    }
  });
}

// dweights: (N, C); dkernel: (N, C, 9).
template <typename T>
void crossed_backward(const Parallel& parallel, Shape s, const Crossed<T>& in, const T* grad,
                      const wide_t<T>* mean, const wide_t<T>* scale, T* dx, T* drows, T* dcolumns,
                      wide_t<T>* dweights, wide_t<T>* dkernel) {
  using A = wide_t<T>;
  Padded p(s, 1);
  int64_t width = s.c / in.groups, size = s.plane();
  Shape result{s.n, in.groups, s.h, s.w, false};
  parallel(s.n * in.groups, [&](int64_t begin, int64_t end) {
    Buffer<A> buffer(2 * p.room + 3 * p.size + s.w);
    std::fill_n(buffer.at(0), 2 * p.room + 3 * p.size, A(0));
    A *plane = buffer.at(p.origin), *g = buffer.at(p.room + p.origin);
    A *gates = buffer.at(2 * p.room), *mask = gates + p.size, *out = mask + p.size;
    A* down = out + p.size;
    inside(p, mask);
    for (int64_t i = begin; i < end; i++) {
      take_plane(result, p, grad, i / in.groups, i % in.groups, g);
      A level = sum_of(p, g) / size;
      for (int64_t k = 0; k < width; k++) {
        int64_t c = i * width + k;
        take_plane(s, p, in.x, c / s.c, c % s.c, plane);
        cross_gates(p, in, c, gates);
        const A middle = mean[c], one = scale[c];
        vec_t<A> along = {};
        for (int64_t j = 0; j < p.size; j += lanes<A>) {
          vec_t<A> value = load_lanes(plane + j, All()) * load_lanes(gates + j, All());
          store_lanes(out + j, value, All());
        }
        // The product as it was rounded, not as part of a fused operation: a plane of one
        // value is its mean exactly.
        for (int64_t j = 0; j < p.size; j += lanes<A>)
          along += load_lanes(g + j, All()) * ((load_lanes(out + j, All()) - middle) * one);
        dweights[c] = sum_everywhere<A>(along)[0];
        std::fill_n(dkernel + c * 9, 9, A(0));
        correlate(p, Taps<A>(p, in.kernel + k * 9, 3, 3), g, plane, dkernel + c * 9);
        A factor = in.weights[c] * one, bend = dweights[c] / size;
        convolve(p, Taps<A>(p, in.kernel + k * 9, 3, 3, -1), g, [&](int64_t j, vec_t<A> local) INLINE_BODY {
          vec_t<A> x = load_lanes(plane + j, All()), gate = load_lanes(gates + j, All());
          vec_t<A> n = (load_lanes(out + j, All()) - middle) * one;
          vec_t<A> d = factor * (load_lanes(g + j, All()) - level - n * bend);
          store_lanes(out + j, local + d * gate, All());
          store_lanes(gates + j, d * x, All());  // 0 in the gaps, as x is
        });
        put_plane(s, p, dx, c / s.c, c % s.c, out);
        std::fill_n(down, s.w, A(0));
        for (int64_t h = 0; h < s.h; h++) {
          A row = 0, factor = load(in.rows[c * s.h + h]);
          const A* from = gates + h * p.stride;
          for (int64_t w = 0; w < s.w; w++) {
            row += from[w] * load(in.columns[c * s.w + w]);
            down[w] += from[w] * factor;
          }
          drows[c * s.h + h] = store<T>(row);
        }
        for (int64_t w = 0; w < s.w; w++) dcolumns[c * s.w + w] = store<T>(down[w]);
      }
    }
  });
}

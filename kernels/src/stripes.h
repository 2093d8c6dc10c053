// CPCA's seven depthwise convolutions: see mmattn/kernels/stripes.py. Included once for each
// level of vector instructions.

// Weights and biases of a channel: 5 x 5, then 1 x k and k x 1 for each k.
constexpr int STRIPES[] = {7, 11, 21};
constexpr int64_t STRIPE_WEIGHTS = 25 + 2 * (7 + 11 + 21), STRIPE_BIASES = 7;

template <typename A> struct StripeTaps {
  Taps<A> square;
  Taps<A> along[3], down[3];
  StripeTaps(Padded p, const A* w, int sign)
      : square(p, w, 5, 5, sign),
        along{{p, w + 25, 1, 7, sign}, {p, w + 39, 1, 11, sign}, {p, w + 61, 1, 21, sign}},
        down{{p, w + 32, 7, 1, sign}, {p, w + 50, 11, 1, sign}, {p, w + 82, 21, 1, sign}} {}
};

// d = the square's convolution of x, and the three stripes' of d along the rows.
template <typename A>
void stripes_of(Padded p, const StripeTaps<A>& taps, const A* bias, const A* mask, const A* x, A* d,
                A* const* along) {
  convolve(p, taps.square, x, [&](int64_t i, vec_t<A> sum) INLINE_BODY {
    store_lanes(d + i, (sum + bias[0]) * load_lanes(mask + i, All()), All());
  });
  for (int k = 0; k < 3; k++)
    convolve(p, taps.along[k], d, [&](int64_t i, vec_t<A> sum) INLINE_BODY {
      store_lanes(along[k] + i, (sum + bias[1 + 2 * k]) * load_lanes(mask + i, All()), All());
    });
}

// body(n, c, x in its place, the same of `planes` more, the mask), zeros around all of them.
template <typename T, typename Body>
void over_padded(const Parallel& parallel, Shape s, Padded p, int planes, const T* x, const Body& body) {
  using A = wide_t<T>;
  parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
    Buffer<A> buffer((planes + 1) * p.room + p.size);
    std::fill_n(buffer.at(0), (planes + 1) * p.room, A(0));
    A *mask = buffer.at((planes + 1) * p.room), *more[8];
    inside(p, mask);
    for (int i = 0; i < planes; i++) more[i] = buffer.at((i + 1) * p.room + p.origin);
    for (int64_t i = begin; i < end; i++) {
      A* plane = buffer.at(p.origin);
      take_plane(s, p, x, i / s.c, i % s.c, plane);
      body(i / s.c, i % s.c, plane, more, mask);
    }
  });
}

// weights: (C, 103), biases: (C, 7), in the type of sums.
template <typename T>
void stripes(const Parallel& parallel, Shape s, const T* x, const wide_t<T>* weights,
             const wide_t<T>* biases, T* y) {
  using A = wide_t<T>;
  Padded p(s, 10);
  over_padded<T>(parallel, s, p, 4, x, [&](int64_t n, int64_t c, A* plane, A** more, A* mask) {
    StripeTaps<A> taps(p, weights + c * STRIPE_WEIGHTS, 1);
    const A* bias = biases + c * STRIPE_BIASES;
    A *d = more[0], **along = more + 1;
    stripes_of(p, taps, bias, mask, plane, d, along);
    A all = bias[2] + bias[4] + bias[6];
    for (int k = 0; k < 3; k++)
      convolve(p, taps.down[k], along[k], [&](int64_t i, vec_t<A> sum) INLINE_BODY {
        store_lanes(d + i, load_lanes(d + i, All()) + sum + (k ? A(0) : all), All());
      });
    put_plane(s, p, y, n, c, d);
  });
}

// sums: (N, C, 110), the gradients of a channel's weights and biases.
template <typename T>
void stripes_backward(const Parallel& parallel, Shape s, const T* grad, const T* x,
                      const wide_t<T>* weights, const wide_t<T>* biases, T* dx,
                      wide_t<T>* sums) {
  using A = wide_t<T>;
  Padded p(s, 10);
  over_padded<T>(parallel, s, p, 7, x, [&](int64_t n, int64_t c, A* plane, A** more, A* mask) {
    StripeTaps<A> taps(p, weights + c * STRIPE_WEIGHTS, 1);
    StripeTaps<A> back(p, weights + c * STRIPE_WEIGHTS, -1);
    const int64_t first[] = {25, 39, 61};
    A *d = more[0], **along = more + 1, *g = more[4], *through = more[5], *dd = more[6];
    A* dw = sums + (n * s.c + c) * (STRIPE_WEIGHTS + STRIPE_BIASES);
    A* db = dw + STRIPE_WEIGHTS;
    std::fill_n(dw, STRIPE_WEIGHTS, A(0));
    stripes_of(p, taps, biases + c * STRIPE_BIASES, mask, plane, d, along);
    take_plane(s, p, grad, n, c, g);
    std::copy_n(g, p.size, dd);
    for (int k = 0; k < 3; k++) {
      correlate(p, taps.down[k], g, along[k], dw + first[k] + STRIPES[k]);
      db[2 + 2 * k] = sum_of(p, g);
      convolve(p, back.down[k], g, [&](int64_t i, vec_t<A> sum) INLINE_BODY {
        store_lanes(through + i, sum * load_lanes(mask + i, All()), All());
      });
      correlate(p, taps.along[k], through, d, dw + first[k]);
      db[1 + 2 * k] = sum_of(p, through);
      convolve(p, back.along[k], through, [&](int64_t i, vec_t<A> sum) INLINE_BODY {
        store_lanes(dd + i, load_lanes(dd + i, All()) + sum * load_lanes(mask + i, All()), All());
      });
    }
    correlate(p, taps.square, dd, plane, dw);
    db[0] = sum_of(p, dd);
    convolve(p, back.square, dd, [&](int64_t i, vec_t<A> sum) INLINE_BODY {
      store_lanes(through + i, sum * load_lanes(mask + i, All()), All());
    });
    put_plane(s, p, dx, n, c, through);
  });
}

// A plane with zeros around it, for convolutions: the rows one after the other with a gap
// between them, so that a shift of the whole is one of every row and vectors run across the
// ends of short rows. Included once for each level of vector instructions.

struct Padded {
  int64_t h, w, gap, top, stride, size, origin, room;
  // For kernels that reach `reach` to each side; what is further than the map is zero anyway.
  Padded(Shape s, int64_t reach)
      : h(s.h), w(s.w), gap(std::min(reach, s.w - 1)), top(std::min(reach, s.h - 1)),
        stride(w + gap), size((h * stride + 15) / 16 * 16), origin((top * stride + gap + 15) / 16 * 16),
        room(origin + size + top * stride + gap + 16) {}
  bool has(int64_t dy, int64_t dx) const {
    return std::abs(dy) <= top && std::abs(dx) <= gap;
  }
};

// The plane (n, c); what is around it has to be zero already.
template <typename T> void take_plane(Shape s, Padded p, const T* x, int64_t n, int64_t c, wide_t<T>* to) {
  int64_t step = s.channels_last ? s.c : 1;
  const T* from = x + n * s.c * s.plane() + c * (s.channels_last ? 1 : s.plane());
  for (int64_t h = 0; h < s.h; h++, to += p.stride)
    for (int64_t w = 0; w < s.w; w++) to[w] = load(*from), from += step;
}

template <typename T> void put_plane(Shape s, Padded p, T* x, int64_t n, int64_t c, const wide_t<T>* from) {
  int64_t step = s.channels_last ? s.c : 1;
  T* to = x + n * s.c * s.plane() + c * (s.channels_last ? 1 : s.plane());
  for (int64_t h = 0; h < s.h; h++, from += p.stride)
    for (int64_t w = 0; w < s.w; w++) *to = store<T>(from[w]), to += step;
}

// 1 inside of the map, 0 in the gaps.
template <typename A> void inside(Padded p, A* to) {
  std::fill(to, to + p.size, A(0));
  for (int64_t h = 0; h < p.h; h++) std::fill_n(to + h * p.stride, p.w, A(1));
}

// A convolution's weights, those that meet the map, and where.
template <typename A> struct Taps {
  int count = 0;
  int64_t shift[32];
  A weight[32];
  int index[32];
  // kh x kw weights around a place; `sign` -1 is for the gradient of the input.
  template <typename W> Taps(Padded p, const W* weights, int kh, int kw, int sign = 1) {
    for (int y = 0; y < kh; y++)
      for (int x = 0; x < kw; x++)
        if (p.has(y - kh / 2, x - kw / 2)) {
          shift[count] = sign * ((y - kh / 2) * p.stride + x - kw / 2);
          weight[count] = load(weights[y * kw + x]);
          index[count++] = y * kw + x;
        }
  }
};

// body(i, sum of the taps around i) for vectors of all places.
template <typename A, typename Body>
INLINE void convolve(Padded p, const Taps<A>& taps, const A* x, const Body& body) {
  constexpr int64_t step = lanes<A>;
  int64_t i = 0;
  for (; i + 4 * step <= p.size; i += 4 * step) {
    vec_t<A> a = {}, b = {}, c = {}, d = {};
    for (int t = 0; t < taps.count; t++) {
      const A* from = x + i + taps.shift[t];
      a += load_lanes(from, All()) * taps.weight[t];
      b += load_lanes(from + step, All()) * taps.weight[t];
      c += load_lanes(from + 2 * step, All()) * taps.weight[t];
      d += load_lanes(from + 3 * step, All()) * taps.weight[t];
    }
    body(i, a), body(i + step, b), body(i + 2 * step, c), body(i + 3 * step, d);
  }
  for (; i < p.size; i += step) {
    vec_t<A> a = {};
    for (int t = 0; t < taps.count; t++)
      a += load_lanes(x + i + taps.shift[t], All()) * taps.weight[t];
    body(i, a);
  }
}

// to[tap] += sum over the places of g x[shifted]: the gradient of the weights.
template <typename A>
void correlate(Padded p, const Taps<A>& taps, const A* g, const A* x, A* to) {
  constexpr int64_t step = lanes<A>;
  for (int t = 0; t < taps.count; t += 4) {
    const A* from[4];
    for (int j = 0; j < 4; j++) from[j] = x + taps.shift[std::min(t + j, taps.count - 1)];
    vec_t<A> a = {}, b = {}, c = {}, d = {};
    for (int64_t i = 0; i < p.size; i += step) {
      vec_t<A> with = load_lanes(g + i, All());
      a += with * load_lanes(from[0] + i, All());
      b += with * load_lanes(from[1] + i, All());
      c += with * load_lanes(from[2] + i, All());
      d += with * load_lanes(from[3] + i, All());
    }
    const vec_t<A> sums[4] = {a, b, c, d};
    for (int j = 0; j < 4 && t + j < taps.count; j++)
      to[taps.index[t + j]] += sum_everywhere<A>(sums[j])[0];
  }
}

template <typename A> A sum_of(Padded p, const A* x) {
  vec_t<A> sum = {};
  for (int64_t i = 0; i < p.size; i += lanes<A>) sum += load_lanes(x + i, All());
  return sum_everywhere<A>(sum)[0];
}

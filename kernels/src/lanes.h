// A vector's worth of values at once, the last ones of a row or plane under a mask: small maps
// (7 x 7, 14 x 14) are all ends of rows. Included once for each level of vector instructions.

#pragma GCC diagnostic ignored "-Wpsabi"  // no vector crosses a call: all of it is inlined
#define INLINE inline __attribute__((always_inline))
#define INLINE_BODY __attribute__((always_inline))  // behind a lambda's arguments

template <typename A> struct Lanes;
template <> struct Lanes<float> {
  typedef float vec __attribute__((vector_size(VECTOR)));
  typedef int32_t index __attribute__((vector_size(VECTOR)));
};
template <> struct Lanes<double> {
  typedef double vec __attribute__((vector_size(VECTOR)));
  typedef int64_t index __attribute__((vector_size(VECTOR)));
};
template <typename T> using vec_t = typename Lanes<wide_t<T>>::vec;
template <typename T> constexpr int lanes = VECTOR / sizeof(wide_t<T>);
template <typename T> constexpr int64_t padded(int64_t width) {
  return (width + lanes<T> - 1) / lanes<T> * lanes<T>;
}

typedef uint16_t half_bits __attribute__((vector_size(VECTOR / 2)));
typedef uint32_t full_bits __attribute__((vector_size(VECTOR)));

INLINE Lanes<float>::vec widen(half_bits bits) {
  return (Lanes<float>::vec)(__builtin_convertvector(bits, full_bits) << 16);
}
INLINE half_bits narrow(Lanes<float>::vec x) {
  full_bits bits = (full_bits)x;
  full_bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  full_bits nan = (full_bits)(x != x);
  return __builtin_convertvector((rounded & ~nan) | (nan & 0x7fc0), half_bits);
}

// `All` of the lanes, or the first `count` of them (the others are 0).
struct All {};
template <typename T> constexpr int lane_count(All) { return lanes<T>; }
template <typename T> constexpr int lane_count(int count) { return count; }

template <typename T> INLINE vec_t<T> load_lanes(const T* from, All) {
  vec_t<T> out;
  std::memcpy(&out, from, VECTOR);
  return out;
}
template <> INLINE Lanes<float>::vec load_lanes(const bfloat16* from, All) {
  half_bits bits;
  std::memcpy(&bits, from, VECTOR / 2);
  return widen(bits);
}
template <typename T> INLINE void store_lanes(T* to, vec_t<T> x, All) { std::memcpy(to, &x, VECTOR); }
template <> INLINE void store_lanes(bfloat16* to, Lanes<float>::vec x, All) {
  half_bits bits = narrow(x);
  std::memcpy(to, &bits, VECTOR / 2);
}

#if defined(AVX512)
INLINE Lanes<float>::vec load_lanes(const float* from, int count) {
  return (Lanes<float>::vec)_mm512_maskz_loadu_ps((1u << count) - 1, from);
}
INLINE Lanes<double>::vec load_lanes(const double* from, int count) {
  return (Lanes<double>::vec)_mm512_maskz_loadu_pd((1u << count) - 1, from);
}
INLINE Lanes<float>::vec load_lanes(const bfloat16* from, int count) {
  return widen((half_bits)_mm256_maskz_loadu_epi16((1u << count) - 1, from));
}
INLINE void store_lanes(float* to, Lanes<float>::vec x, int count) {
  _mm512_mask_storeu_ps(to, (1u << count) - 1, (__m512)x);
}
INLINE void store_lanes(double* to, Lanes<double>::vec x, int count) {
  _mm512_mask_storeu_pd(to, (1u << count) - 1, (__m512d)x);
}
INLINE void store_lanes(bfloat16* to, Lanes<float>::vec x, int count) {
  _mm256_mask_storeu_epi16(to, (1u << count) - 1, (__m256i)narrow(x));
}
#else
#if defined(AVX2)
// What can be loaded under a mask and stored in halves need not go through the stack, where a load
// of a vector waits for the stores of its values.
INLINE Lanes<float>::vec load_lanes(const float* from, int count) {
  static const int32_t mask[2 * 8] = {-1, -1, -1, -1, -1, -1, -1, -1};
  __m256i first = _mm256_loadu_si256((const __m256i*)(mask + 8 - count));
  return (Lanes<float>::vec)_mm256_maskload_ps(from, first);
}
INLINE void store_lanes(float* to, Lanes<float>::vec x, int count) {
  __m128 part = _mm256_castps256_ps128((__m256)x);
  if (count & 4) {
    _mm_storeu_ps(to, part);
    to += 4, part = _mm256_extractf128_ps((__m256)x, 1);
  }
  if (count & 2) {
    _mm_storel_pi((__m64*)to, part);
    to += 2, part = _mm_movehl_ps(part, part);
  }
  if (count & 1) _mm_store_ss(to, part);
}
#endif
template <typename T> INLINE vec_t<T> load_lanes(const T* from, int count) {
  T values[lanes<T>] = {};
  for (int i = 0; i < count; i++) values[i] = from[i];
  return load_lanes(values, All());
}
template <typename T> INLINE void store_lanes(T* to, vec_t<T> x, int count) {
  T values[lanes<T>];
  store_lanes(values, x, All());
  for (int i = 0; i < count; i++) to[i] = values[i];
}
#endif

// body(start, how many) over 0 .. width.
template <typename T, typename Body> INLINE void each_lanes(int64_t width, const Body& body) {
  int64_t i = 0;
  for (; i + lanes<T> <= width; i += lanes<T>) body(i, All());
  if (i < width) body(i, int(width - i));
}

template <typename A, typename Count> INLINE void add_lanes(A* to, vec_t<A> x, Count count) {
  store_lanes(to, load_lanes(to, count) + x, count);
}

template <typename V> INLINE auto sum_lanes(V x) {
  constexpr int n = sizeof(V) / sizeof(x[0]);
  auto sum = x[0];
  for (int i = 1; i < n; i++) sum += x[i];
  return sum;
}

// Lane l is a[l ^ FLIP], or b[l ^ FLIP] where l has the bit S.
template <typename T, int S, int FLIP, int... I>
INLINE vec_t<T> pick(vec_t<T> a, vec_t<T> b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, ((I & S ? lanes<T> : 0) + (I ^ FLIP))...);
#else
  using Index = typename Lanes<wide_t<T>>::index;
  return __builtin_shuffle(a, b, Index{((I & S ? lanes<T> : 0) + (I ^ FLIP))...});
#endif
}

// Lane l is the sum of x[l]: all of them in 4 steps instead of 4 steps each.
template <typename T, int S = 1> INLINE vec_t<T> sum_each(const vec_t<T>* x) {
  using All = std::make_integer_sequence<int, lanes<T>>;
  if constexpr (S == lanes<T>) {
    return x[0];
  } else {
    vec_t<T> half[lanes<T> / S / 2];
    for (int i = 0; i < lanes<T> / S / 2; i++) {
      vec_t<T> a = x[2 * i], b = x[2 * i + 1];
      half[i] = pick<T, S, 0>(a, b, All()) + pick<T, S, S>(a, b, All());
    }
    return sum_each<T, 2 * S>(half);
  }
}

// Sums of rows, a vector of them at a time: add(h, what row h sums to in all lanes together),
// h in order; body(first row, their sums, how many) when there are enough or no more.
template <typename T> class RowSums {
 public:
  template <typename Body> INLINE void add(int64_t h, int64_t height, vec_t<T> x, const Body& body) {
    constexpr int L = lanes<T>;
    rows_[h % L] = x;
    if (h % L == L - 1) {
      body(h - (L - 1), sum_each<T>(rows_), All());
    } else if (h == height - 1) {
      for (int k = h % L + 1; k < L; k++) rows_[k] = vec_t<T>{};
      body(h / L * L, sum_each<T>(rows_), int(h % L + 1));
    }
  }

 private:
  vec_t<T> rows_[lanes<T>];
};

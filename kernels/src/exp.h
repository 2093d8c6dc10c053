// The exponential and the sigmoid as plain arithmetic, which loops can vectorise, and of whole
// vectors; to one or two units in the last place. Included once for each level of vector
// instructions.

template <typename V, typename Bits> INLINE Bits bits_of(V x) {
  Bits bits;
  std::memcpy(&bits, &x, sizeof x);
  return bits;
}

// exp(x) = 2^n exp(r) with |r| <= ln(2) / 2, the latter by its Taylor polynomial. Adding
// `shift` rounds to an integer, which stands in the sum's low bits, ready to be moved into
// the exponent. V is float or a vector of them, -87 <= x <= 88.
template <typename V, typename Bits> INLINE V moderate_exponential_f32(V x) {
  const float shift = 12582912.0f;  // 1.5 * 2^23
  V sum = x * 1.44269504f + shift;
  V n = sum - shift;
  V r = x - n * 0.693359375f;
  r -= n * -2.12194440e-4f;
  V p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return bits_of<Bits, V>(bits_of<V, Bits>(p) + (bits_of<V, Bits>(sum) << 23));
}

// The same for double, -708 <= x <= 709.
template <typename V, typename Bits> INLINE V moderate_exponential_f64(V x) {
  const double shift = 6755399441055744.0;  // 1.5 * 2^52
  V sum = x * 1.4426950408889634 + shift;
  V n = sum - shift;
  V r = x - n * 6.93145751953125e-1;
  r -= n * 1.42860682030941723212e-6;
  V p = r * (1.0 / 6227020800) + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return bits_of<Bits, V>(bits_of<V, Bits>(p) + (bits_of<V, Bits>(sum) << 52));
}

INLINE float moderate_exponential(float x) { return moderate_exponential_f32<float, uint32_t>(x); }
INLINE double moderate_exponential(double x) {
  return moderate_exponential_f64<double, uint64_t>(x);
}
INLINE Lanes<float>::vec moderate_exponential(Lanes<float>::vec x) {
  return moderate_exponential_f32<Lanes<float>::vec, Lanes<float>::index>(x);
}
INLINE Lanes<double>::vec moderate_exponential(Lanes<double>::vec x) {
  return moderate_exponential_f64<Lanes<double>::vec, Lanes<double>::index>(x);
}

// Of any number: beyond the exponent's range the result is that of its ends.
template <typename V> INLINE V exponential(V x) {
  constexpr bool narrow = std::is_same_v<V, float> || std::is_same_v<V, Lanes<float>::vec>;
  const V least = V() - (narrow ? 87 : 708), most = V() + (narrow ? 88 : 709);
  x = x < least ? least : x;
  x = x > most ? most : x;
  return moderate_exponential(x);
}

template <typename V> INLINE V sigmoid(V x) { return 1 / (1 + exponential(-x)); }

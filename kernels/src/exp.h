// The exponential and the sigmoid as plain arithmetic, which loops can vectorise; to one or
// two units in the last place. Included once for each level of vector instructions.

// exp(x) = 2^n exp(r) with |r| <= ln(2) / 2, the latter by its Taylor polynomial. Adding
// `shift` rounds to an integer, which stands in the sum's low bits, ready to be moved into
// the exponent. Beyond the exponent's range the result is that of its ends.
inline __attribute__((always_inline)) float exponential(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float shift = 12582912.0f;  // 1.5 * 2^23
  float sum = x * 1.44269504f + shift;
  float n = sum - shift;
  float r = x - n * 0.693359375f;
  r -= n * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1;
  p = p * r + 1;
  uint32_t power, bits;
  std::memcpy(&power, &sum, 4);
  std::memcpy(&bits, &p, 4);
  bits += power << 23;
  std::memcpy(&p, &bits, 4);
  return p;
}

inline __attribute__((always_inline)) double exponential(double x) {
  x = x < -708.0 ? -708.0 : x > 709.0 ? 709.0 : x;
  const double shift = 6755399441055744.0;  // 1.5 * 2^52
  double sum = x * 1.4426950408889634 + shift;
  double n = sum - shift;
  double r = x - n * 6.93145751953125e-1;
  r -= n * 1.42860682030941723212e-6;
  double p = 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
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
  p = p * r + 1;
  p = p * r + 1;
  uint64_t power, bits;
  std::memcpy(&power, &sum, 8);
  std::memcpy(&bits, &p, 8);
  bits += power << 52;
  std::memcpy(&p, &bits, 8);
  return p;
}

template <typename A>
inline __attribute__((always_inline)) A sigmoid(A x) {
  return 1 / (1 + exponential(-x));
}

// What the kernels share. No header of torch: they compile in seconds, once for each level
// of vector instructions (levels.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

// parallel(n, body): body(begin, end) on parts of 0 .. n, on torch's threads.
using Parallel = std::function<void(int64_t, const std::function<void(int64_t, int64_t)>&)>;

// A map (N, C, H, W), contiguous as NCHW or as NHWC.
struct Shape {
  int64_t n, c, h, w;
  bool channels_last;
  int64_t plane() const { return h * w; }
};

struct bfloat16 {
  uint16_t bits;
};

// What sums and gates are computed in.
template <typename T> struct Wide { using type = T; };
template <> struct Wide<bfloat16> { using type = float; };
template <typename T> using wide_t = typename Wide<T>::type;

inline float load(bfloat16 x) {
  uint32_t bits = uint32_t(x.bits) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}
inline float load(float x) { return x; }
inline double load(double x) { return x; }

template <typename T> inline T store(wide_t<T> x) { return x; }
template <> inline bfloat16 store<bfloat16>(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  // To the nearest, ties to even; NaN stays NaN.
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return {uint16_t(x != x ? 0x7fc0 : rounded)};
}

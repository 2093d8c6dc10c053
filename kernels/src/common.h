// What the kernels share. No header of torch: they compile in seconds, once for each level
// of vector instructions (levels.h).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// parallel(n, body): body(begin, end) on parts of 0 .. n, on torch's threads.
using Parallel = std::function<void(int64_t, const std::function<void(int64_t, int64_t)>&)>;

// A map (N, C, H, W), contiguous as NCHW or as NHWC.
struct Shape {
  int64_t n, c, h, w;
  bool channels_last;
  int64_t plane() const { return h * w; }
  // A plane as one row.
  Shape flat() const { return {n, c, 1, h * w, channels_last}; }
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

// Memory for intermediate values, not initialised, aligned for vectors.
template <typename A>
class Buffer {
 public:
  explicit Buffer(int64_t size)
      : start_(size ? ::operator new(size * sizeof(A), std::align_val_t(64)) : nullptr) {}
  ~Buffer() { ::operator delete(start_, std::align_val_t(64)); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  A* at(int64_t i) const { return static_cast<A*>(start_) + i; }

 private:
  void* start_;
};

// Into how many of `most` parts each of `blocks` is cut so that many threads have work. Never
// from the number of threads: the order of sums would follow it.
inline int64_t parts_of(int64_t blocks, int64_t most) {
  return std::max<int64_t>(1, std::min(most, (15 + blocks) / blocks));
}
inline int64_t part_start(int64_t size, int64_t parts, int64_t part) { return size * part / parts; }

// Places that are worked on at once across all channels, so that they stay in the cache.
constexpr int64_t PLACES = 512;
inline int64_t blocks_of(Shape s) { return (s.plane() + PLACES - 1) / PLACES; }

enum class Join { product, max, add };

// The gates of a map, nullptr where there is none.
template <typename T>
struct Gates {
  const T *rows, *columns, *channels, *planes;
  const wide_t<T>* scale;
  int64_t groups;  // of channels, each with a plane
  Join join;
};

// Where the gradients go; of scale one value for each sample and channel.
template <typename T>
struct GateGrads {
  T *x, *rows, *columns, *channels, *planes;
  wide_t<T>* scale;
};

// What EMA's branches are made of.
template <typename T> struct Crossed {
  const T *x, *rows, *columns;
  const wide_t<T> *weights, *kernel;  // (N, C), (C / groups, 3, 3)
  int64_t groups;
  double eps;
};

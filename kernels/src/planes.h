// Planes of a map as contiguous arrays of what is computed in, whatever its layout and dtype:
// kernels that need whole planes, more than once, work on these in the cache. Included once
// for each level of vector instructions.

// How many planes are taken together: with channels_last the channels of one cache line.
template <typename T>
int64_t together(Shape s) { return s.channels_last ? std::min<int64_t>(s.c, 64 / sizeof(T)) : 1; }

// body(n, c, count, room): planes c to c + count of sample n, with room for `rooms` times
// `count` planes of `size` elements.
template <typename T, typename Body>
void over_planes(const Parallel& parallel, Shape s, int64_t channels, int64_t rooms, int64_t size,
                 const Body& body) {
  int64_t most = together<T>(s), blocks = (channels + most - 1) / most;
  parallel(s.n * blocks, [&](int64_t begin, int64_t end) {
    std::vector<wide_t<T>> room(rooms * most * size);
    for (int64_t i = begin; i < end; i++) {
      int64_t c = i % blocks * most;
      body(i / blocks, c, std::min(most, channels - c), room.data());
    }
  });
}

// Channels c, c + step, ... of sample n, one plane after the other: where they are, if they
// lie like this already, or copied to `room`.
template <typename T>
const wide_t<T>* take(Shape s, const T* x, int64_t n, int64_t c, int64_t step, int64_t count,
                      wide_t<T>* room) {
  int64_t plane = s.plane();
  if (!s.channels_last) {
    const T* from = x + (n * s.c + c) * plane;
    if constexpr (std::is_same_v<T, wide_t<T>>) return from;
#pragma omp simd
    for (int64_t i = 0; i < plane; i++) room[i] = load(from[i]);
    return room;
  }
  const T* from = x + n * plane * s.c + c;
  // A few places at a time, whose cache lines stay.
  for (int64_t i = 0; i < plane; i += 16) {
    int64_t end = std::min(plane, i + 16);
    for (int64_t k = 0; k < count; k++)
      for (int64_t j = i; j < end; j++) room[k * plane + j] = load(from[j * s.c + k * step]);
  }
  return room;
}

// Where results for `put` may be written: to their place itself, or to `room`.
template <typename T>
wide_t<T>* target(Shape s, T* x, int64_t n, int64_t c, wide_t<T>* room) {
  if constexpr (std::is_same_v<T, wide_t<T>>)
    if (!s.channels_last) return x + (n * s.c + c) * s.plane();
  return room;
}

// The inverse of `take`, of what was written to `target`.
template <typename T>
void put(Shape s, T* x, int64_t n, int64_t c, int64_t step, int64_t count,
         const wide_t<T>* room) {
  int64_t plane = s.plane();
  if (!s.channels_last) {
    T* to = x + (n * s.c + c) * plane;
    if constexpr (std::is_same_v<T, wide_t<T>>) return;
#pragma omp simd
    for (int64_t i = 0; i < plane; i++) to[i] = store<T>(room[i]);
    return;
  }
  T* to = x + n * plane * s.c + c;
  for (int64_t i = 0; i < plane; i += 16) {
    int64_t end = std::min(plane, i + 16);
    for (int64_t j = i; j < end; j++)
      for (int64_t k = 0; k < count; k++) to[j * s.c + k * step] = store<T>(room[k * plane + j]);
  }
}

// Sums of many values lose less in parts.
constexpr int64_t PART = 2048;

template <typename A>
A mean_of(const A* x, int64_t size) {
  A total = 0;
  for (int64_t begin = 0; begin < size; begin += PART) {
    int64_t end = std::min(size, begin + PART);
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = begin; i < end; i++) sum += x[i];
    total += sum;
  }
  return total / size;
}

template <typename A>
A variance_of(const A* x, int64_t size, A mean) {
  A total = 0;
  for (int64_t begin = 0; begin < size; begin += PART) {
    int64_t end = std::min(size, begin + PART);
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = begin; i < end; i++) sum += (x[i] - mean) * (x[i] - mean);
    total += sum;
  }
  return total / size;
}

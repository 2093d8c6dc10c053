// Means of rows and columns. Included once for each level of vector instructions.

template <typename T>
void means(const Parallel& parallel, Shape s, const T* x, T* rows, T* columns) {
  using A = wide_t<T>;
  if (s.channels_last) {
    parallel(s.n, [&](int64_t begin, int64_t end) {
      std::vector<A> down(s.w * s.c), along(s.c);
      for (int64_t n = begin; n < end; n++) {
        std::fill(down.begin(), down.end(), A(0));
        for (int64_t h = 0; h < s.h; h++) {
          std::fill(along.begin(), along.end(), A(0));
          const T* row = x + (n * s.h + h) * s.w * s.c;
          for (int64_t w = 0; w < s.w; w++) {
            A* to = down.data() + w * s.c;
            A* sum = along.data();
            const T* from = row + w * s.c;
#pragma omp simd
            for (int64_t c = 0; c < s.c; c++) {
              A value = load(from[c]);
              to[c] += value;
              sum[c] += value;
            }
          }
          for (int64_t c = 0; c < s.c; c++)
            rows[(n * s.c + c) * s.h + h] = store<T>(along[c] / s.w);
        }
        for (int64_t w = 0; w < s.w; w++)
          for (int64_t c = 0; c < s.c; c++)
            columns[(n * s.c + c) * s.w + w] = store<T>(down[w * s.c + c] / s.h);
      }
    });
    return;
  }
  parallel(s.n * s.c, [&](int64_t begin, int64_t end) {
    std::vector<A> down(s.w);
    for (int64_t i = begin; i < end; i++) {
      std::fill(down.begin(), down.end(), A(0));
      A* to = down.data();
      for (int64_t h = 0; h < s.h; h++) {
        const T* from = x + i * s.plane() + h * s.w;
        A sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t w = 0; w < s.w; w++) {
          A value = load(from[w]);
          sum += value;
          to[w] += value;
        }
        rows[i * s.h + h] = store<T>(sum / s.w);
      }
      for (int64_t w = 0; w < s.w; w++) columns[i * s.w + w] = store<T>(down[w] / s.h);
    }
  });
}

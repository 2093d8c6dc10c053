#if defined(__x86_64__)
#include "levels.h"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")
#endif
#define LEVEL avx512
#define VECTOR 64  // bytes
#define AVX512
#include "kernels.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
Level avx512_level() {
  return {avx512::table<float>(), baseline_level().f64, avx512::table<bfloat16>()};
}
#endif

#if defined(__x86_64__)
#include "levels.h"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#define LEVEL avx2
#define VECTOR 32  // bytes
#define AVX2
#include "kernels.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
Level avx2_level() {
  return {avx2::table<float>(), baseline_level().f64, avx2::table<bfloat16>()};
}
#endif

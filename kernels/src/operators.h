// What the operators of torch share: checks, memory and the choice of the level.
#pragma once

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <torch/library.h>
#ifndef _OPENMP
#include <ATen/TensorIterator.h>
#endif

#include <string>
#include <utility>

#include "levels.h"

using at::Tensor;

// The best level that this CPU has, and its name; '' if it has none of them.
inline const std::pair<Level, std::string>& chosen() {
  static const std::pair<Level, std::string> best = []() -> std::pair<Level, std::string> {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
      return {avx512_level(), "AVX-512"};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      return {avx2_level(), "AVX2"};
    return {baseline_level(), ""};
#else
    return {baseline_level(), "the platform's own vector instructions"};
#endif
  }();
  return best;
}
inline const Level& level() { return chosen().first; }

template <typename T> const Kernels<T>& kernels();
template <> inline const Kernels<float>& kernels() { return level().f32; }
template <> inline const Kernels<double>& kernels() { return level().f64; }
template <> inline const Kernels<bfloat16>& kernels() { return level().bf16; }

// By torch's own threads, as many as torch has.
inline void parallel(int64_t n, const std::function<void(int64_t, int64_t)>& body) {
#ifdef _OPENMP
  at::parallel_for(0, n, 1, body);
#else
  // at::parallel_for is a template, which without OpenMP, or with one that is not torch's, has not
  // got them; what iterates over tensors inside of torch has. Its places are what is shared out.
  Tensor places = at::empty({n}, at::kByte);
  const char* first = static_cast<const char*>(places.const_data_ptr());
  auto each = at::TensorIterator::nullary_op(places);
  each.for_each(
      [&](char** at, const int64_t*, int64_t count) { body(*at - first, *at - first + count); }, 1);
#endif
}

// x in one of the two memory formats.
inline at::MemoryFormat format_of(const Tensor& x) { return x.suggest_memory_format(); }

inline Shape shape_of(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4, "expected a map (N, C, H, W), got ", x.sizes());
  return {x.size(0), x.size(1), x.size(2), x.size(3),
          format_of(x) == at::MemoryFormat::ChannelsLast};
}

// A gradient in the memory format and dtype of x; it may be expanded.
inline Tensor like(const Tensor& grad, const Tensor& x) {
  TORCH_CHECK(grad.sizes() == x.sizes(), "expected ", x.sizes(), ", got ", grad.sizes());
  return grad.to(x.scalar_type()).contiguous(format_of(x));
}

template <typename T> const T* in(const Tensor& x) {
  return x.defined() ? reinterpret_cast<const T*>(x.const_data_ptr()) : nullptr;
}
template <typename T> T* out(Tensor& x) { return reinterpret_cast<T*>(x.data_ptr()); }

// run<T>() with the element type of x.
#define WITH_TYPE(x, ...)                                                       \
  switch ((x).scalar_type()) {                                                  \
    case at::kFloat: { using T = float; __VA_ARGS__(); break; }                 \
    case at::kDouble: { using T = double; __VA_ARGS__(); break; }               \
    case at::kBFloat16: { using T = bfloat16; __VA_ARGS__(); break; }           \
    default: TORCH_CHECK(false, "no kernel for ", (x).scalar_type());           \
  }


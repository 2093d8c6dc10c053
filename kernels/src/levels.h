// The kernels as a table of functions, one table for each level of vector instructions; the
// best that this CPU has is chosen when the package is loaded.
#pragma once

#include "common.h"
#include "scsa_parameters.h"

template <typename T>
struct Kernels {
  void (*means)(const Parallel&, Shape, const T* x, T* rows, T* columns);
  void (*means_backward)(const Parallel&, Shape, const T* rows, const T* columns, T* dx);
  void (*project)(const Parallel&, Shape, int64_t groups, const T* x, const wide_t<T>* planes,
                  T* z);
  void (*project_backward)(const Parallel&, Shape, int64_t groups, const T* grad,
                           const wide_t<T>* planes, T* dx);
  void (*combine)(const Parallel&, Shape, const T* x, const wide_t<T>* weights, T* z);
  void (*combine_backward)(const Parallel&, Shape, const T* grad, const T* x,
                           const wide_t<T>* weights, T* dx, wide_t<T>* d_weights);
  void (*gate)(const Parallel&, Shape, const Gates<T>&, const T* x, T* y);
  void (*gate_backward)(const Parallel&, Shape, const Gates<T>&, const T* grad, const T* x,
                        const GateGrads<T>&);
  void (*simam)(const Parallel&, Shape, const T* x, wide_t<T> scale, double lambda, T* y);
  void (*simam_backward)(const Parallel&, Shape, const T* grad, const T* x, wide_t<T> scale,
                         double lambda, T* dx, wide_t<T>* dscale);
  void (*mean_max)(const Parallel&, Shape, const T* x, T* mean, T* peak);
  void (*mean_max_backward)(const Parallel&, Shape, const T* grad_mean, const T* grad_peak,
                            const T* x, const T* peak, T* dx);
  void (*channel_pool)(const Parallel&, Shape, const T* x, const T* gates, T* planes,
                       wide_t<T>* peak);
  void (*channel_pool_backward)(const Parallel&, Shape, const T* grad, const T* x,
                                const T* gates, const wide_t<T>* peak, T* dx, wide_t<T>* dgates);
  void (*shuffle_gate)(const Parallel&, Shape, int64_t groups, double eps, const T* x,
                       const T* slope, const T* offset, T* y);
  void (*shuffle_gate_backward)(const Parallel&, Shape, int64_t groups, double eps,
                                const T* grad, const T* x, const T* slope, const T* offset,
                                T* dx, wide_t<T>* dslope, wide_t<T>* doffset);
  void (*stripes)(const Parallel&, Shape, const T* x, const wide_t<T>* weights,
                  const wide_t<T>* biases, T* y);
  void (*stripes_backward)(const Parallel&, Shape, const T* grad, const T* x,
                           const wide_t<T>* weights, const wide_t<T>* biases, T* dx,
                           wide_t<T>* sums);
  void (*crossed)(const Parallel&, Shape, const Crossed<T>&, T* planes, wide_t<T>* mean,
                  wide_t<T>* scale);
  void (*crossed_backward)(const Parallel&, Shape, const Crossed<T>&, const T* grad,
                           const wide_t<T>* mean, const wide_t<T>* scale, T* dx, T* drows,
                           T* dcolumns, wide_t<T>* dweights, wide_t<T>* dkernel);
  void (*window_means)(const Parallel&, Shape, int64_t size, const T* x, const wide_t<T>* rows,
                       const wide_t<T>* columns, wide_t<T>* pooled);
  void (*window_means_backward)(const Parallel&, Shape, int64_t size, const wide_t<T>* pooled,
                                const T* x, const wide_t<T>* rows, const wide_t<T>* columns, T* dx,
                                wide_t<T>* drows, wide_t<T>* dcolumns);
  void (*scsa)(const Parallel& samples, const Parallel&, Shape, const ScsaParameters<wide_t<T>>&,
               const T* x, T* y, wide_t<T>* strips, wide_t<T>* kept);
  void (*scsa_backward)(const Parallel& samples, const Parallel&, Shape,
                        const ScsaParameters<wide_t<T>>&, const T* grad, const T* x,
                        const wide_t<T>* strips, const wide_t<T>* kept, T* dx, wide_t<T>* sums);
};

struct Level {
  Kernels<float> f32;
  Kernels<double> f64;
  Kernels<bfloat16> bf16;
};

Level baseline_level();
#if defined(__x86_64__)
Level avx2_level();
Level avx512_level();
#endif

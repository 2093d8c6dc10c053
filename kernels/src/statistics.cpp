// Statistics of planes and of channels, and attentions by them, as operators of torch.
#include "operators.h"

namespace {

// For sums, before they are rounded to what the result has.
at::TensorOptions wide(const Tensor& x) {
  return x.options()
      .dtype(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat)
      .memory_format(at::MemoryFormat::Contiguous);
}

// For results that are no maps.
at::TensorOptions narrow(const Tensor& x) {
  return x.options().memory_format(at::MemoryFormat::Contiguous);
}

double value_of(const std::optional<Tensor>& scale) {
  return scale ? scale->item<double>() : 1.0;
}

Tensor simam(const Tensor& input, const std::optional<Tensor>& scale, double lambda) {
  Tensor x = input.contiguous(format_of(input));
  Shape s = shape_of(x);
  Tensor y = at::empty_like(x);
  WITH_TYPE(x, [&] {
    kernels<T>().simam(parallel, s, in<T>(x), value_of(scale), lambda, out<T>(y));
  });
  return y;
}

std::tuple<Tensor, Tensor> simam_backward(const Tensor& grad, const Tensor& input,
                                          const std::optional<Tensor>& scale, double lambda) {
  Tensor x = input.contiguous(format_of(input)), g = like(grad, x);
  Shape s = shape_of(x);
  Tensor dx = at::empty_like(x), dscale = at::empty({scale ? s.n * s.c : 0}, wide(x));
  WITH_TYPE(x, [&] {
    kernels<T>().simam_backward(parallel, s, in<T>(g), in<T>(x), value_of(scale), lambda,
                                out<T>(dx), scale ? out<wide_t<T>>(dscale) : nullptr);
  });
  return {dx, scale ? dscale.sum().reshape(scale->sizes()) : dscale};
}

std::tuple<Tensor, Tensor, Tensor> mean_max(const Tensor& input) {
  Tensor x = input.contiguous(format_of(input));
  Shape s = shape_of(x);
  Tensor mean = at::empty({s.n, s.c}, narrow(x)), peak = at::empty({s.n, s.c}, narrow(x));
  WITH_TYPE(x, [&] {
    kernels<T>().mean_max(parallel, s, in<T>(x), out<T>(mean), out<T>(peak));
  });
  return {mean, peak, peak.clone()};
}

Tensor mean_max_backward(const Tensor& grad_mean, const Tensor& grad_peak, const Tensor& input,
                         const Tensor& peak) {
  Tensor x = input.contiguous(format_of(input)), dx = at::empty_like(x);
  Tensor to_mean = grad_mean.contiguous(), to_peak = grad_peak.contiguous();
  WITH_TYPE(x, [&] {
    kernels<T>().mean_max_backward(parallel, shape_of(x), in<T>(to_mean), in<T>(to_peak),
                                   in<T>(x), in<T>(peak), out<T>(dx));
  });
  return dx;
}

std::tuple<Tensor, Tensor> channel_pool(const Tensor& input, const Tensor& channels) {
  Tensor x = input.contiguous(format_of(input)), gates = channels.contiguous();
  Shape s = shape_of(x);
  Tensor planes = at::empty({s.n, 2, s.h, s.w}, narrow(x));
  Tensor peak = at::empty({s.n, 1, s.h, s.w}, wide(x));
  WITH_TYPE(x, [&] {
    kernels<T>().channel_pool(parallel, s, in<T>(x), in<T>(gates), out<T>(planes),
                              out<wide_t<T>>(peak));
  });
  return {planes, peak};
}

std::tuple<Tensor, Tensor> channel_pool_backward(const Tensor& grad, const Tensor& input,
                                                 const Tensor& channels, const Tensor& peak) {
  Tensor x = input.contiguous(format_of(input)), gates = channels.contiguous();
  Tensor g = grad.contiguous(), dx = at::empty_like(x);
  Shape s = shape_of(x);
  Tensor dgates = at::empty({s.n, blocks_of(s), s.c}, wide(x));
  WITH_TYPE(x, [&] {
    kernels<T>().channel_pool_backward(parallel, s, in<T>(g), in<T>(x), in<T>(gates),
                                       in<wide_t<T>>(peak), out<T>(dx), out<wide_t<T>>(dgates));
  });
  return {dx, dgates.sum(1).to(x.scalar_type())};
}

Tensor shuffle_gate(const Tensor& input, const Tensor& slope, const Tensor& offset,
                    int64_t groups, double eps) {
  Tensor x = input.contiguous(format_of(input)), y = at::empty_like(x);
  Tensor slopes = slope.contiguous(), offsets = offset.contiguous();
  WITH_TYPE(x, [&] {
    kernels<T>().shuffle_gate(parallel, shape_of(x), groups, eps, in<T>(x), in<T>(slopes),
                              in<T>(offsets), out<T>(y));
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor> shuffle_gate_backward(const Tensor& grad, const Tensor& input,
                                                         const Tensor& slope, const Tensor& offset,
                                                         int64_t groups, double eps) {
  Tensor x = input.contiguous(format_of(input)), g = like(grad, x), dx = at::empty_like(x);
  Tensor slopes = slope.contiguous(), offsets = offset.contiguous();
  Shape s = shape_of(x);
  Tensor sums = at::empty({2, s.n * groups, 2, s.c / groups / 2}, wide(x));
  Tensor dslope = sums[0], doffset = sums[1];
  WITH_TYPE(x, [&] {
    kernels<T>().shuffle_gate_backward(parallel, s, groups, eps, in<T>(g), in<T>(x),
                                       in<T>(slopes), in<T>(offsets), out<T>(dx),
                                       out<wide_t<T>>(dslope), out<wide_t<T>>(doffset));
  });
  Tensor both = sums.sum(1).to(x.scalar_type());
  return {dx, both[0].clone(), both[1].clone()};
}

Tensor stripes(const Tensor& input, const Tensor& weights, const Tensor& biases) {
  Tensor x = input.contiguous(format_of(input)), y = at::empty_like(x);
  Tensor w = weights.to(wide(x)).contiguous(), b = biases.to(wide(x)).contiguous();
  WITH_TYPE(x, [&] {
    kernels<T>().stripes(parallel, shape_of(x), in<T>(x), in<wide_t<T>>(w), in<wide_t<T>>(b),
                         out<T>(y));
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor> stripes_backward(const Tensor& grad, const Tensor& input,
                                                    const Tensor& weights, const Tensor& biases) {
  Tensor x = input.contiguous(format_of(input)), g = like(grad, x), dx = at::empty_like(x);
  Tensor w = weights.to(wide(x)).contiguous(), b = biases.to(wide(x)).contiguous();
  Shape s = shape_of(x);
  Tensor sums = at::empty({s.n, s.c, w.size(1) + b.size(1)}, wide(x));
  WITH_TYPE(x, [&] {
    kernels<T>().stripes_backward(parallel, s, in<T>(g), in<T>(x), in<wide_t<T>>(w),
                                  in<wide_t<T>>(b), out<T>(dx), out<wide_t<T>>(sums));
  });
  auto both = sums.sum(0).to(x.scalar_type()).split_with_sizes({w.size(1), b.size(1)}, 1);
  return {dx, both[0].clone(), both[1].clone()};
}

std::tuple<Tensor, Tensor, Tensor> crossed(const Tensor& input, const Tensor& rows,
                                           const Tensor& columns, const Tensor& weights,
                                           const Tensor& kernel, double eps) {
  Tensor x = input.contiguous(format_of(input));
  Tensor r = rows.contiguous(), c = columns.contiguous();
  Tensor w = weights.to(wide(x)).contiguous(), k = kernel.to(wide(x)).contiguous();
  Shape s = shape_of(x);
  int64_t groups = s.c / k.size(0);
  Tensor planes = at::empty({s.n, groups, s.h, s.w}, narrow(x));
  Tensor mean = at::empty({s.n, s.c}, wide(x)), scale = at::empty({s.n, s.c}, wide(x));
  WITH_TYPE(x, [&] {
    using A = wide_t<T>;
    Crossed<T> given{in<T>(x), in<T>(r), in<T>(c), in<A>(w), in<A>(k), groups, eps};
    kernels<T>().crossed(parallel, s, given, out<T>(planes), out<A>(mean), out<A>(scale));
  });
  return {planes, mean, scale};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> crossed_backward(
    const Tensor& grad, const Tensor& input, const Tensor& rows, const Tensor& columns,
    const Tensor& weights, const Tensor& kernel, double eps, const Tensor& mean,
    const Tensor& scale) {
  Tensor x = input.contiguous(format_of(input)), dx = at::empty_like(x), g = grad.contiguous();
  Tensor r = rows.contiguous(), c = columns.contiguous();
  Tensor w = weights.to(wide(x)).contiguous(), k = kernel.to(wide(x)).contiguous();
  Shape s = shape_of(x);
  int64_t groups = s.c / k.size(0);
  Tensor drows = at::empty_like(r), dcolumns = at::empty_like(c);
  Tensor dweights = at::empty({s.n, s.c}, wide(x));
  Tensor dkernel = at::empty({s.n * groups, k.size(0), 3, 3}, wide(x));
  WITH_TYPE(x, [&] {
    using A = wide_t<T>;
    Crossed<T> given{in<T>(x), in<T>(r), in<T>(c), in<A>(w), in<A>(k), groups, eps};
    kernels<T>().crossed_backward(parallel, s, given, in<T>(g), in<A>(mean), in<A>(scale),
                                  out<T>(dx), out<T>(drows), out<T>(dcolumns), out<A>(dweights),
                                  out<A>(dkernel));
  });
  auto type = x.scalar_type();
  return {dx, drows, dcolumns, dweights.to(type), dkernel.sum(0).to(type)};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(mmattn_cpu, m) {
  m.def("simam(Tensor x, Tensor? scale, float e_lambda) -> Tensor");
  m.def("simam_backward(Tensor grad, Tensor x, Tensor? scale, float e_lambda) -> (Tensor, Tensor)");
  m.def("mean_max(Tensor x) -> (Tensor, Tensor, Tensor)");
  m.def("mean_max_backward(Tensor grad_0, Tensor grad_1, Tensor x, Tensor peak) -> Tensor");
  m.def("channel_pool(Tensor x, Tensor channels) -> (Tensor, Tensor)");
  m.def("channel_pool_backward(Tensor grad, Tensor x, Tensor channels, Tensor peak) "
        "-> (Tensor, Tensor)");
  m.def("shuffle_gate(Tensor x, Tensor slope, Tensor offset, int groups, float eps) -> Tensor");
  m.def("shuffle_gate_backward(Tensor grad, Tensor x, Tensor slope, Tensor offset, int groups, "
        "float eps) -> (Tensor, Tensor, Tensor)");
  m.def("stripes(Tensor x, Tensor weights, Tensor biases) -> Tensor");
  m.def("crossed(Tensor x, Tensor rows, Tensor columns, Tensor weights, Tensor kernel, float eps) "
        "-> (Tensor, Tensor, Tensor)");
  m.def("crossed_backward(Tensor grad, Tensor x, Tensor rows, Tensor columns, Tensor weights, "
        "Tensor kernel, float eps, Tensor mean, Tensor scale) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("stripes_backward(Tensor grad, Tensor x, Tensor weights, Tensor biases) "
        "-> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(mmattn_cpu, CPU, m) {
  m.impl("simam", simam);
  m.impl("simam_backward", simam_backward);
  m.impl("mean_max", mean_max);
  m.impl("mean_max_backward", mean_max_backward);
  m.impl("channel_pool", channel_pool);
  m.impl("channel_pool_backward", channel_pool_backward);
  m.impl("shuffle_gate", shuffle_gate);
  m.impl("shuffle_gate_backward", shuffle_gate_backward);
  m.impl("stripes", stripes);
  m.impl("crossed", crossed);
  m.impl("crossed_backward", crossed_backward);
  m.impl("stripes_backward", stripes_backward);
}

// Attentions by statistics of whole planes (SimAM) as operators of torch.
#include "operators.h"

namespace {

// For sums, before they are rounded to what the result has.
at::TensorOptions wide(const Tensor& x) {
  return x.options()
      .dtype(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat)
      .memory_format(at::MemoryFormat::Contiguous);
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

}  // namespace

TORCH_LIBRARY_FRAGMENT(mmattn_cpu, m) {
  m.def("simam(Tensor x, Tensor? scale, float e_lambda) -> Tensor");
  m.def("simam_backward(Tensor grad, Tensor x, Tensor? scale, float e_lambda) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(mmattn_cpu, CPU, m) {
  m.impl("simam", simam);
  m.impl("simam_backward", simam_backward);
}

// Means and gates of maps as operators of torch.
#include "operators.h"

namespace {

std::tuple<Tensor, Tensor> means(const Tensor& input) {
  Tensor x = input.contiguous(format_of(input));
  Shape s = shape_of(x);
  Tensor rows = at::empty({s.n, s.c, s.h}, x.options().memory_format(at::MemoryFormat::Contiguous));
  Tensor columns = at::empty({s.n, s.c, s.w}, rows.options());
  WITH_TYPE(x, [&] {
    kernels<T>().means(parallel, s, in<T>(x), out<T>(rows), out<T>(columns));
  });
  return {rows, columns};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(mmattn_cpu, m) {
  m.def("means(Tensor x) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(mmattn_cpu, CPU, m) {
  m.impl("means", means);
}

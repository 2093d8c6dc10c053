// SCSA and the means of windows as operators of torch.
#include "operators.h"

namespace {

using OptionalTensor = std::optional<Tensor>;

at::TensorOptions sums_like(const Tensor& x) {
  return x.options()
      .dtype(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat)
      .memory_format(at::MemoryFormat::Contiguous);
}

// With fewer samples than threads, the threads share each of them.
void over_samples(int64_t n, const std::function<void(int64_t, int64_t)>& body) {
  if (n < at::get_num_threads())
    body(0, n);
  else
    parallel(n, body);
}

// The parameters of a layer, held while their pointers are used.
struct Layer {
  std::vector<Tensor> tensors;
  at::IntArrayRef kernels;
  int64_t heads, window;
  double factor;
  at::ArrayRef<double> eps;

  Layer(const Tensor& x, const std::vector<Tensor>& given, const OptionalTensor& scale,
        at::IntArrayRef kernels, int64_t heads, int64_t window, double factor,
        at::ArrayRef<double> eps)
      : kernels(kernels), heads(heads), window(window), factor(factor), eps(eps) {
    auto type = sums_like(x).dtype();
    for (const Tensor& t : given) tensors.push_back(t.to(type).contiguous());
    if (scale) tensors.push_back(scale->to(type).contiguous());
    TORCH_CHECK(!kernels.empty() && x.size(1) % int64_t(kernels.size()) == 0 && heads > 0 &&
                    x.size(1) % heads == 0 && window > 0 && eps.size() == 3,
                "scsa: ", x.size(1), " channels, kernels ", kernels, ", ", heads, " heads, window ",
                window, ", ", eps.size(), " eps");
    for (size_t i = 1; i < 11; i++)
      TORCH_CHECK(tensors[i].numel() == x.size(1), "scsa: parameter ", i, " has ",
                  tensors[i].numel(), " values for ", x.size(1), " channels");
  }

  template <typename A>
  ScsaParameters<A> parameters(int64_t channels) const {
    auto at = [&](size_t i) { return i < tensors.size() ? in<A>(tensors[i]) : nullptr; };
    ScsaParameters<A> p{at(0), at(1), {{at(2), at(3)}, {at(4), at(5)}, {at(6), at(7)}},
                        {at(8), at(9), at(10)}, at(11), kernels.vec(), heads, window, factor,
                        {eps[0], eps[1], eps[2]}};
    TORCH_CHECK(tensors[0].numel() == p.weights(channels), "scsa: ", tensors[0].numel(),
                " weights for kernels ", kernels);
    return p;
  }
};

#define PARAMETERS                                                                            \
  const Tensor &weight, const Tensor &bias, const Tensor &norm_h_weight,                      \
      const Tensor &norm_h_bias, const Tensor &norm_w_weight, const Tensor &norm_w_bias,      \
      const Tensor &norm_weight, const Tensor &norm_bias, const Tensor &q, const Tensor &k,   \
      const Tensor &v, const OptionalTensor &scale, at::IntArrayRef kernel_sizes,             \
      int64_t heads, int64_t window, double factor, at::ArrayRef<double> eps
#define LAYER                                                                                 \
  Layer layer(x,                                                                              \
              {weight, bias, norm_h_weight, norm_h_bias, norm_w_weight, norm_w_bias,          \
               norm_weight, norm_bias, q, k, v},                                              \
              scale, kernel_sizes, heads, window, factor, eps)

int64_t windows(int64_t length, int64_t size) { return length / std::min(length, size); }

std::tuple<Tensor, Tensor, Tensor> scsa(const Tensor& input, PARAMETERS) {
  Tensor x = input.contiguous(format_of(input));
  Shape s = shape_of(x);
  LAYER;
  Tensor y = at::empty_like(x), strips = at::empty({s.n, s.h + s.w, s.c}, sums_like(x));
  int64_t count = windows(s.h, window) * windows(s.w, window);
  Tensor kept = at::empty({s.n, count + 1, s.c}, sums_like(x));
  WITH_TYPE(x, [&] {
    using A = wide_t<T>;
    kernels<T>().scsa(over_samples, parallel, s, layer.parameters<A>(s.c), in<T>(x), out<T>(y),
                      out<A>(strips), out<A>(kept));
  });
  return {y, strips, kept};
}

// Of each gradient, the sum over the samples, in order; `times` stand one after the other.
template <typename A>
Tensor total(const A* sums, int64_t n, int64_t step, int64_t size, int64_t times,
             const Tensor& like) {
  Tensor result = at::zeros({size}, sums_like(like));
  A* to = out<A>(result);
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < times; k++)
      for (int64_t j = 0; j < size; j++) to[j] += sums[i * step + k * size + j];
  return result;
}

using Grads = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                         Tensor, Tensor, Tensor, Tensor>;

Grads scsa_backward(const Tensor& grad, const Tensor& input, PARAMETERS, const Tensor& strips,
                    const Tensor& kept) {
  Tensor x = input.contiguous(format_of(input)), g = grad.contiguous(format_of(x));
  Shape s = shape_of(x);
  LAYER;
  Tensor dx = at::empty_like(x), held_strips = strips.contiguous(), held = kept.contiguous();
  std::vector<Tensor> grads;
  WITH_TYPE(x, [&] {
    using A = wide_t<T>;
    ScsaParameters<A> p = layer.parameters<A>(s.c);
    int64_t step = p.gradients(s.c), weights = p.weights(s.c);
    Tensor by_sample = at::empty({s.n, step}, sums_like(x));
    kernels<T>().scsa_backward(over_samples, parallel, s, p, in<T>(g), in<T>(x),
                               in<A>(held_strips), in<A>(held), out<T>(dx), out<A>(by_sample));
    const A* sums = in<A>(by_sample);
    Tensor flat = total(sums, s.n, step, weights, 2, x), rows = at::empty_like(flat);
    // (kernel, width) of each group becomes (width, kernel).
    int64_t width = s.c / int64_t(kernel_sizes.size()), offset = 0;
    for (int64_t size : kernel_sizes) {
      for (int64_t i = 0; i < width; i++)
        for (int64_t t = 0; t < size; t++)
          out<A>(rows)[offset + i * size + t] = in<A>(flat)[offset + t * width + i];
      offset += width * size;
    }
    grads.push_back(rows);
    sums += 2 * weights;
    grads.push_back(total(sums, s.n, step, s.c, 2, x));
    sums += 2 * s.c;
    for (int i = 0; i < 9; i++, sums += s.c) grads.push_back(total(sums, s.n, step, s.c, 1, x));
    Tensor scales = total(sums, s.n, step, s.c, 1, x);
    grads.push_back(scale ? scales.sum().reshape(scale->sizes()) : at::empty({0}, x.options()));
  });
  const Tensor* given[] = {&weight, &bias, &norm_h_weight, &norm_h_bias, &norm_w_weight,
                           &norm_w_bias, &norm_weight, &norm_bias, &q, &k, &v};
  for (size_t i = 0; i < 11; i++) grads[i] = grads[i].view(given[i]->sizes()).to(given[i]->dtype());
  return {dx, grads[0], grads[1], grads[2], grads[3], grads[4], grads[5], grads[6], grads[7],
          grads[8], grads[9], grads[10], grads[11]};
}

Tensor window_means(const Tensor& input, const OptionalTensor& rows, const OptionalTensor& columns,
                    int64_t size) {
  Tensor x = input.contiguous(format_of(input));
  Shape s = shape_of(x);
  int64_t h = windows(s.h, size), w = windows(s.w, size);
  Tensor pooled = at::empty({s.n, h * w, s.c}, sums_like(x)), a, b;
  // (N, positions, C), as the kernels have them.
  auto by_position = [&](const OptionalTensor& g) {
    return g ? g->transpose(1, 2).to(sums_like(x).dtype()).contiguous() : Tensor();
  };
  a = by_position(rows), b = by_position(columns);
  WITH_TYPE(x, [&] {
    using A = wide_t<T>;
    kernels<T>().window_means(parallel, s, size, in<T>(x), in<A>(a), in<A>(b), out<A>(pooled));
  });
  return pooled.transpose(1, 2).to(x.dtype()).contiguous().view({s.n, s.c, h, w});
}

std::tuple<Tensor, Tensor, Tensor> window_means_backward(
    const Tensor& grad, const Tensor& input, const OptionalTensor& rows,
    const OptionalTensor& columns, int64_t size) {
  Tensor x = input.contiguous(format_of(input));
  Shape s = shape_of(x);
  auto wide = sums_like(x);
  auto by_position = [&](const OptionalTensor& g) {
    return g ? g->transpose(1, 2).to(wide.dtype()).contiguous() : Tensor();
  };
  Tensor a = by_position(rows), b = by_position(columns), pooled = by_position(grad.flatten(2));
  Tensor dx = at::empty_like(x), da, db;
  if (rows) da = at::zeros({s.n, s.h, s.c}, wide), db = at::zeros({s.n, s.w, s.c}, wide);
  WITH_TYPE(x, [&] {
    using A = wide_t<T>;
    kernels<T>().window_means_backward(parallel, s, size, in<A>(pooled), in<T>(x), in<A>(a),
                                       in<A>(b), out<T>(dx), rows ? out<A>(da) : nullptr,
                                       rows ? out<A>(db) : nullptr);
  });
  if (!rows) return {dx, at::empty({0}, x.options()), at::empty({0}, x.options())};
  return {dx, da.transpose(1, 2).to(rows->dtype()).contiguous(),
          db.transpose(1, 2).to(columns->dtype()).contiguous()};
}

}  // namespace

#define SCSA_ARGUMENTS                                                                         \
  "Tensor x, Tensor weight, Tensor bias, Tensor norm_h_weight, Tensor norm_h_bias, "           \
  "Tensor norm_w_weight, Tensor norm_w_bias, Tensor norm_weight, Tensor norm_bias, Tensor q, " \
  "Tensor k, Tensor v, Tensor? scale, int[] kernel_sizes, int heads, int window, "             \
  "float factor, float[] eps"

TORCH_LIBRARY_FRAGMENT(mmattn_cpu, m) {
  m.def("scsa(" SCSA_ARGUMENTS ") -> (Tensor, Tensor, Tensor)");
  m.def("scsa_backward(Tensor grad, " SCSA_ARGUMENTS ", Tensor strips, Tensor kept) -> "
        "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, "
        "Tensor, Tensor)");
  m.def("window_means(Tensor x, Tensor? rows, Tensor? columns, int size) -> Tensor");
  m.def("window_means_backward(Tensor grad, Tensor x, Tensor? rows, Tensor? columns, int size) "
        "-> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(mmattn_cpu, CPU, m) {
  m.impl("scsa", scsa);
  m.impl("scsa_backward", scsa_backward);
  m.impl("window_means", window_means);
  m.impl("window_means_backward", window_means_backward);
}

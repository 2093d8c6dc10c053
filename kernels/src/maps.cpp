// Means and gates of maps as operators of torch.
#include "operators.h"

namespace {

Tensor empty_of(const Tensor& x, at::IntArrayRef sizes) {
  return at::empty(sizes, x.options().memory_format(at::MemoryFormat::Contiguous));
}

std::tuple<Tensor, Tensor> means(const Tensor& input) {
  Tensor x = input.contiguous(format_of(input));
  Shape s = shape_of(x);
  Tensor rows = empty_of(x, {s.n, s.c, s.h}), columns = empty_of(x, {s.n, s.c, s.w});
  if (x.numel() == 0) return {rows, columns};
  WITH_TYPE(x, [&] {
    kernels<T>().means(parallel, s, in<T>(x), out<T>(rows), out<T>(columns));
  });
  return {rows, columns};
}

Tensor means_backward(const Tensor& grad_rows, const Tensor& grad_columns, const Tensor& x) {
  Tensor dx = at::empty(x.sizes(), x.options().memory_format(format_of(x)));
  if (x.numel() == 0) return dx;
  Tensor rows = grad_rows.to(x.scalar_type()).contiguous(),
         columns = grad_columns.to(x.scalar_type()).contiguous();
  WITH_TYPE(x, [&] {
    kernels<T>().means_backward(parallel, shape_of(x), in<T>(rows), in<T>(columns), out<T>(dx));
  });
  return dx;
}

// The planes of a projection, in what sums of x are taken in.
Tensor weights_of(const Tensor& x, const Tensor& planes) {
  Shape s = shape_of(x);
  TORCH_CHECK(planes.dim() == 3 && planes.size(0) > 0 && s.c % planes.size(0) == 0 &&
                  planes.size(1) == s.h && planes.size(2) == s.w,
              "planes must be (G, ", s.h, ", ", s.w, ") with G dividing ", s.c, ", got ",
              planes.sizes());
  return planes.to(at::toOpMathType(x.scalar_type())).contiguous();
}

Tensor project(const Tensor& input, const Tensor& planes, bool) {
  Tensor x = input.contiguous(format_of(input)), weights = weights_of(x, planes);
  Tensor z = empty_of(x, {x.size(0), x.size(1)});
  if (x.numel() == 0) return z;
  WITH_TYPE(x, [&] {
    kernels<T>().project(parallel, shape_of(x), planes.size(0), in<T>(x), in<wide_t<T>>(weights),
                         out<T>(z));
  });
  return z;
}

std::tuple<Tensor, Tensor> project_backward(const Tensor& grad_z, const Tensor& x,
                                            const Tensor& planes, bool learned) {
  Tensor dx = at::empty(x.sizes(), x.options().memory_format(format_of(x)));
  Tensor weights = weights_of(x, planes), grad = grad_z.to(x.scalar_type()).contiguous();
  Tensor d_planes = at::zeros_like(planes);
  if (x.numel() == 0) return {dx, d_planes};
  if (learned) {
    Tensor groups = x.to(weights.scalar_type()).unflatten(1, {planes.size(0), -1});
    Tensor of_groups = grad.to(weights.scalar_type()).unflatten(1, {planes.size(0), -1});
    d_planes = at::einsum("ngc,ngchw->ghw", {of_groups, groups}).to(planes.scalar_type());
  }
  WITH_TYPE(x, [&] {
    kernels<T>().project_backward(parallel, shape_of(x), planes.size(0), in<T>(grad),
                                  in<wide_t<T>>(weights), out<T>(dx));
  });
  return {dx, d_planes};
}

Tensor combine(const Tensor& input, const Tensor& given) {
  Tensor x = input.contiguous(format_of(input));
  Shape s = shape_of(x);
  TORCH_CHECK(given.dim() == 1 && given.size(0) == s.c, "weights must be (", s.c, "), got ",
              given.sizes());
  Tensor weights = given.to(at::toOpMathType(x.scalar_type())).contiguous();
  Tensor z = empty_of(x, {s.n, 1, s.h, s.w});
  if (x.numel() == 0) return z.zero_();
  WITH_TYPE(x, [&] {
    kernels<T>().combine(parallel, s, in<T>(x), in<wide_t<T>>(weights), out<T>(z));
  });
  return z;
}

std::tuple<Tensor, Tensor> combine_backward(const Tensor& grad_z, const Tensor& input,
                                            const Tensor& given) {
  Tensor x = input.contiguous(format_of(input)), dx = at::empty_like(x);
  Tensor weights = given.to(at::toOpMathType(x.scalar_type())).contiguous();
  Tensor grad = grad_z.to(x.scalar_type()).contiguous(), d_weights = at::zeros_like(weights);
  if (x.numel() == 0) return {dx, d_weights.to(given.scalar_type())};
  WITH_TYPE(x, [&] {
    kernels<T>().combine_backward(parallel, shape_of(x), in<T>(grad), in<T>(x),
                                  in<wide_t<T>>(weights), out<T>(dx), out<wide_t<T>>(d_weights));
  });
  return {dx, d_weights.to(given.scalar_type())};
}

using Optional = std::optional<Tensor>;

// The gates in the order of their gradients, contiguous; undefined where there is none.
struct Given {
  Tensor rows, columns, channels, planes, scale;
  Join join;
  Shape shape;

  Given(const Tensor& x, const Optional& r, const Optional& c, const Optional& ch,
        const Optional& p, const Optional& sc, c10::string_view how) {
    Shape s = shape = shape_of(x);
    rows = checked("rows", r, x, {s.n, s.c, s.h});
    columns = checked("columns", c, x, {s.n, s.c, s.w});
    channels = checked("channels", ch, x, {s.n, s.c});
    const int64_t groups = p && p->dim() == 4 ? p->size(1) : 1;
    TORCH_CHECK(groups > 0 && s.c % groups == 0, "planes must be one for each of the ", s.c,
                " channels or for a group of them, got ", groups);
    // A gate of its own for each element: in whatever order they lie.
    const bool each = p && groups == s.c && !r && !c && !ch;
    if (each) shape = {s.n * s.c, 1, 1, s.plane(), false};
    planes = checked("planes", p, x, {s.n, groups, s.h, s.w},
                     each ? format_of(x) : at::MemoryFormat::Contiguous);
    if (sc) scale = sc->to(at::toOpMathType(x.scalar_type()));
    TORCH_CHECK(!sc || scale.numel() == 1, "scale must be one value, got ", sc->sizes());
    TORCH_CHECK(how == "product" || how == "max" || how == "add",
                "join must be 'product', 'max' or 'add', got '", how, "'");
    join = how == "max" ? Join::max : how == "add" ? Join::add : Join::product;
    TORCH_CHECK(join == Join::product || (ch && p && !r && !c), "join='", how,
                "' takes channels and planes, without rows and columns");
  }

  static Tensor checked(const char* name, const Optional& gate, const Tensor& x,
                        at::IntArrayRef sizes,
                        at::MemoryFormat format = at::MemoryFormat::Contiguous) {
    if (!gate) return {};
    TORCH_CHECK(gate->sizes() == sizes && gate->scalar_type() == x.scalar_type(), name,
                " must be ", x.scalar_type(), " of ", sizes, ", got ", gate->scalar_type(), " of ",
                gate->sizes());
    return gate->contiguous(format);
  }

  template <typename T> Gates<T> as() const {
    return {in<T>(rows), in<T>(columns), in<T>(channels), in<T>(planes), in<wide_t<T>>(scale),
            planes.defined() && shape.c > 1 ? planes.size(1) : 1, join};
  }
};

Tensor gate(const Tensor& input, const Optional& rows, const Optional& columns,
            const Optional& channels, const Optional& planes, const Optional& scale,
            c10::string_view join) {
  Tensor x = input.contiguous(format_of(input)), y = at::empty_like(x);
  Given given(x, rows, columns, channels, planes, scale, join);
  if (x.numel() == 0) return y;
  WITH_TYPE(x, [&] {
    kernels<T>().gate(parallel, given.shape, given.as<T>(), in<T>(x), out<T>(y));
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> gate_backward(
    const Tensor& grad_y, const Tensor& input, const Optional& rows, const Optional& columns,
    const Optional& channels, const Optional& planes, const Optional& scale,
    c10::string_view join) {
  Tensor x = input.contiguous(format_of(input)), grad = like(grad_y, x), dx = at::empty_like(x);
  Given given(x, rows, columns, channels, planes, scale, join);
  auto room = [&](const Tensor& gate) {
    return gate.defined() ? at::empty_like(gate) : empty_of(x, {0});
  };
  Tensor d_rows = room(given.rows), d_columns = room(given.columns),
         d_channels = room(given.channels), d_planes = room(given.planes),
         d_scale = scale ? at::zeros_like(*scale) : empty_of(x, {0});
  if (x.numel() == 0) {
    for (Tensor* d : {&d_rows, &d_columns, &d_channels, &d_planes}) d->zero_();
    return {dx, d_rows, d_columns, d_channels, d_planes, d_scale};
  }
  WITH_TYPE(x, [&] {
    auto to = [](Tensor& d) { return d.numel() ? out<T>(d) : nullptr; };
    Tensor changes;
    if (scale) changes = at::empty({x.size(0) * x.size(1)}, given.scale.options());
    kernels<T>().gate_backward(
        parallel, given.shape, given.as<T>(), in<T>(grad), in<T>(x),
        {out<T>(dx), to(d_rows), to(d_columns), to(d_channels), to(d_planes),
         scale ? out<wide_t<T>>(changes) : nullptr});
    if (scale) d_scale.fill_(changes.sum(at::kDouble));
  });
  return {dx, d_rows, d_columns, d_channels, d_planes, d_scale};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(mmattn_cpu, m) {
  m.def("level() -> str", [] { return chosen().second; });
  m.def("means(Tensor x) -> (Tensor, Tensor)");
  m.def("means_backward(Tensor grad_rows, Tensor grad_columns, Tensor x) -> Tensor");
  m.def("combine(Tensor x, Tensor weights) -> Tensor");
  m.def("combine_backward(Tensor grad, Tensor x, Tensor weights) -> (Tensor, Tensor)");
  m.def("project(Tensor x, Tensor planes, bool learned) -> Tensor");
  m.def(
      "project_backward(Tensor grad, Tensor x, Tensor planes, bool learned) -> (Tensor, Tensor)");
  m.def(
      "gate(Tensor x, Tensor? rows, Tensor? columns, Tensor? channels, Tensor? planes, "
      "Tensor? scale, str join) -> Tensor");
  m.def(
      "gate_backward(Tensor grad, Tensor x, Tensor? rows, Tensor? columns, Tensor? channels, "
      "Tensor? planes, Tensor? scale, str join) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(mmattn_cpu, CPU, m) {
  m.impl("means", means);
  m.impl("means_backward", means_backward);
  m.impl("combine", combine);
  m.impl("combine_backward", combine_backward);
  m.impl("project", project);
  m.impl("project_backward", project_backward);
  m.impl("gate", gate);
  m.impl("gate_backward", gate_backward);
}

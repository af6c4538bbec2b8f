// Binary neurons and their gradient on CUDA. Kernels: neurons.cuh.
#include "neurons.cuh"

#include "launch.h"

namespace musegan {
namespace {

// The slope of the gradient does not change where a neuron switches.
Tensor neuron(const Tensor& logits, double /*slope*/) {
  const Launcher launch(logits);
  const Tensor x = row_major(logits);
  const Dtype dtype = logits_dtype("logits", x);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  with_type(dtype, [&](auto* typed) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(typed)>>;
    launch(neuron_outputs<T>, x.numel(), const_data_of<T>(x), x.numel(), data_of<T>(out));
  });
  return out;
}

Tensor stochastic_neuron(const Tensor& logits, double slope, int64_t seed, int64_t offset) {
  const Launcher launch(logits);
  const Tensor x = row_major(logits);
  const Dtype dtype = logits_dtype("logits", x);
  const int64_t n = x.numel();
  check_offset(offset, n);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  if (n == 0) return out;
  with_type(dtype, [&](auto* typed) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(typed)>>;
    const SlopedLogit<T> logit{const_data_of<T>(x), static_cast<float>(slope)};
    launch(stochastic_neuron_outputs<T>, stream_blocks(offset, n), logit, n, Key::of_seed(seed), offset,
           data_of<T>(out));
  });
  return out;
}

Tensor neuron_backward(const Tensor& grad, const Tensor& logits, double slope) {
  const Launcher launch(logits, {grad});
  const Tensor x = row_major(logits), g = row_major(grad);
  const Dtype dtype = logits_dtype("logits", x);
  check_dtype("grad", g, x.scalar_type());
  check_same_sizes("grad", g, x);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  with_type(dtype, [&](auto* typed) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(typed)>>;
    launch(neuron_gradients<T>, x.numel(), const_data_of<T>(g), const_data_of<T>(x), slope, x.numel(),
           data_of<T>(out));
  });
  return out;
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CUDA, m) {
  m.impl("neuron", TORCH_BOX(&musegan::neuron));
  m.impl("stochastic_neuron", TORCH_BOX(&musegan::stochastic_neuron));
  m.impl("neuron_backward", TORCH_BOX(&musegan::neuron_backward));
}

// Binary neurons: 0 or 1 forward, the gradient of a sigmoid backward, on the CPU. Loops: cpu/neurons.h.
#include <algorithm>
#include <cmath>

#include "sampling.h"
#include "tensors.h"

namespace musegan {
namespace {

constexpr int64_t kGrain = 32768;  // elements a thread takes at least

void check_slope(double slope) {
  STD_TORCH_CHECK(std::isfinite(slope) && slope > 0, "slope must be a finite number above 0: got ", slope);
}

Tensor neuron(const Tensor& logits, double slope) {
  check_slope(slope);
  const Dtype dtype = logits_dtype("logits", logits);
  const Tensor x = row_major(logits);
  Tensor out = torch::stable::empty_like(x);
  torch::stable::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    level().neuron(x.const_data_ptr(), dtype, begin, end, out.mutable_data_ptr());
  });
  return out;
}

Tensor stochastic_neuron(const Tensor& logits, double slope, int64_t seed, int64_t offset) {
  check_slope(slope);
  check_offset(offset, logits.numel());
  const Dtype dtype = logits_dtype("logits", logits);
  const Tensor x = row_major(logits);
  Tensor out = torch::stable::empty_like(x);
  torch::stable::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    level().stochastic_neuron(x.const_data_ptr(), dtype, static_cast<float>(slope), seed, offset, begin, end,
                              out.mutable_data_ptr());
  });
  return out;
}

Tensor neuron_backward(const Tensor& grad, const Tensor& logits, double slope) {
  check_slope(slope);
  const Dtype dtype = logits_dtype("logits", logits);
  STD_TORCH_CHECK(grad.scalar_type() == logits.scalar_type() && grad.dim() == logits.dim() &&
                      std::equal(grad.sizes().begin(), grad.sizes().end(), logits.sizes().begin()),
                  "grad must have the dtype and shape of the logits");
  const Tensor g = row_major(grad), x = row_major(logits);
  Tensor out = torch::stable::empty_like(x);
  torch::stable::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    level().neuron_backward(g.const_data_ptr(), x.const_data_ptr(), dtype, slope, begin, end, out.mutable_data_ptr());
  });
  return out;
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CPU, m) {
  m.impl("neuron", TORCH_BOX(&musegan::neuron));
  m.impl("stochastic_neuron", TORCH_BOX(&musegan::stochastic_neuron));
  m.impl("neuron_backward", TORCH_BOX(&musegan::neuron_backward));
}

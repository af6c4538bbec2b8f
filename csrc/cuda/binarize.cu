// threshold and bernoulli: logits to a roll, or to its packed bits, on CUDA. Kernels: binarize.cuh.
#include "binarize.cuh"

#include "launch.h"

namespace musegan {
namespace {

// The cells of a roll like x, or their bits; cells is the kernel for an unpacked roll of x.numel() > 0 cells.
template <typename Cell>
void write_packed(const Launcher& launch, const Cell& cell, const Tensor& x, const Tensor& out) {
  launch(write_packed_cells<Cell>, out.numel(), cell, x.numel() / x.size(-1), x.size(-1), data_of<uint8_t>(out));
}

Tensor new_roll(const Tensor& x, bool packed) {
  return packed ? torch::stable::new_empty(x, packed_sizes(x), ScalarType::Byte)
                : torch::stable::new_empty(x, x.sizes(), ScalarType::Bool);
}

template <typename T, typename Real>
void write_threshold(const Launcher& launch, const Logits& source, Real at, const Tensor& x, bool packed,
                     const Tensor& out) {
  const ThresholdCell<T, Real> cell{static_cast<const T*>(source.data), static_cast<const Real*>(source.each),
                                    source.period, at};
  if (packed) return write_packed(launch, cell, x, out);
  launch(write_cells<ThresholdCell<T, Real>>, x.numel(), cell, x.numel(), data_of<bool>(out));
}

Tensor threshold(const Tensor& logits, double at, const std::optional<Tensor>& each, bool packed) {
  const Launcher launch(logits, {each});
  const Tensor x = row_major(logits);
  const bool is_double = x.scalar_type() == ScalarType::Double;
  const Logits source = logits_of(x, each, is_double ? ScalarType::Double : ScalarType::Float);
  Tensor out = new_roll(x, packed);
  if (x.numel() == 0) return out;
  switch (source.dtype) {
    case Dtype::kFloat:
      write_threshold<float>(launch, source, round_down(at), x, packed, out);
      break;
    case Dtype::kDouble:
      write_threshold<double>(launch, source, at, x, packed, out);
      break;
    case Dtype::kHalf:
      write_threshold<Half>(launch, source, round_down(at), x, packed, out);
      break;
    case Dtype::kBFloat16:
      write_threshold<BFloat16>(launch, source, round_down(at), x, packed, out);
      break;
  }
  return out;
}

Tensor bernoulli(const Tensor& logits, int64_t seed, int64_t offset, const std::optional<Tensor>& each, bool packed) {
  const Launcher launch(logits, {each});
  const Tensor x = row_major(logits);
  const Logits source = logits_of(x, each, ScalarType::Float);
  check_offset(offset, x.numel());
  Tensor out = new_roll(x, packed);
  const int64_t n = x.numel();
  if (n == 0) return out;
  with_type(source.dtype, [&](auto* typed) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(typed)>>;
    const LessenedLogit<T> logit{static_cast<const T*>(source.data), static_cast<const float*>(source.each),
                                 source.period};
    if (packed) return write_packed(launch, BernoulliCell<T>{logit, Key::of_seed(seed), offset}, x, out);
    launch(bernoulli_cells<T>, stream_blocks(offset, n), logit, n, Key::of_seed(seed), offset, data_of<bool>(out));
  });
  return out;
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CUDA, m) {
  m.impl("threshold", TORCH_BOX(&musegan::threshold));
  m.impl("bernoulli", TORCH_BOX(&musegan::bernoulli));
}

// What every op needs of tensors: dtype checks, row-major copies, threads.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "level.h"

namespace musegan {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Dtype of logits. Throws for any other than float32, float64, float16 and bfloat16.
inline Dtype logits_dtype(const char* name, const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return Dtype::kFloat;
    case ScalarType::Double:
      return Dtype::kDouble;
    case ScalarType::Half:
      return Dtype::kHalf;
    case ScalarType::BFloat16:
      return Dtype::kBFloat16;
    default:
      STD_TORCH_CHECK(false, name, " must be float32, float64, float16 or bfloat16: got ",
                      torch::headeronly::toString(x.scalar_type()));
  }
}

inline Tensor row_major(const Tensor& x) { return x.is_contiguous() ? x : torch::stable::contiguous(x); }

// The largest float that is not above `at`: x > at exactly where x > round_down(at).
inline float round_down(double at) {
  const float nearest = static_cast<float>(at);
  return nearest > at ? std::nextafter(nearest, -std::numeric_limits<float>::infinity()) : nearest;
}

// Row-major logits, and what each of them is compared with or lessened by.
inline Logits logits_of(const Tensor& x, const std::optional<Tensor>& each, ScalarType each_dtype) {
  Logits logits{x.const_data_ptr(), logits_dtype("logits", x), nullptr, 1};
  if (each.has_value()) {
    STD_TORCH_CHECK(each->scalar_type() == each_dtype && each->is_contiguous(), "each must be contiguous ",
                    torch::headeronly::toString(each_dtype), ": got ",
                    torch::headeronly::toString(each->scalar_type()));
    logits.each = each->const_data_ptr();
    logits.period = each->numel();
    STD_TORCH_CHECK(x.numel() == 0 || (logits.period > 0 && x.numel() % logits.period == 0),
                    "each must repeat a whole number of times: got ", logits.period, " for ", x.numel(), " logits");
  }
  return logits;
}

inline void check_offset(int64_t offset, int64_t n) {
  STD_TORCH_CHECK(offset >= 0, "offset must not be negative: got ", offset);
  STD_TORCH_CHECK(offset <= std::numeric_limits<int64_t>::max() - n,
                  "offset plus the number of elements must stay below 2^63: got ", offset, " + ", n);
}

// Sizes of a roll's bits, [..., ceil(P/8)].
inline std::vector<int64_t> packed_sizes(const Tensor& roll) {
  STD_TORCH_CHECK(roll.dim() > 0, "a roll to be packed must have an axis of pitches: got none");
  std::vector<int64_t> sizes(roll.sizes().begin(), roll.sizes().end());
  sizes.back() = (sizes.back() + 7) / 8;
  return sizes;
}

}  // namespace musegan

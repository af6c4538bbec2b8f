// What every op needs of tensors: dtype checks, row-major copies, threads.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <optional>

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

}  // namespace musegan

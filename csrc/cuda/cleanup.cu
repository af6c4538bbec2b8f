// cleanup on CUDA. Kernels: cleanup.cuh.
#include "cleanup.cuh"

#include "launch.h"

namespace musegan {
namespace {

std::tuple<Tensor, Tensor> cleanup(const Tensor& frame, const std::optional<Tensor>& onset,
                                   const std::optional<Tensor>& logits, const Tensor& limits) {
  check_dtype("frame", frame, ScalarType::Bool);
  check_dtype("limits", limits, ScalarType::Long);
  STD_TORCH_CHECK(frame.dim() == 5, "frame must be [N, K, B, T, P]: got ", frame.dim(), " axes");
  STD_TORCH_CHECK(limits.dim() == 2 && limits.size(0) == frame.size(1) && limits.size(1) == 3,
                  "limits must be [K, 3]: K=", frame.size(1));
  if (onset.has_value()) {
    check_dtype("onset", *onset, ScalarType::Bool);
    check_same_sizes("onset", *onset, frame);
  }
  if (logits.has_value()) check_same_sizes("logits", *logits, frame);
  const Launcher launch(frame, {onset, logits, limits});

  const Tensor sounding = row_major(frame), bounds = row_major(limits);
  Tensor filled = torch::stable::new_empty(frame, frame.sizes());
  Tensor kept = torch::stable::new_empty(frame, frame.sizes());
  Tensor starts = onset.has_value() ? torch::stable::new_empty(frame, frame.sizes())
                                    : torch::stable::new_empty(frame, {0});
  std::optional<Tensor> struck, strengths;  // kept alive until the launches
  if (onset.has_value()) struck = row_major(*onset);
  if (logits.has_value()) strengths = row_major(*logits);
  const Columns columns{frame.size(0) * frame.size(1), frame.size(1), frame.size(2) * frame.size(3), frame.size(4)};
  if (frame.numel() == 0) return {kept, starts};

  const int64_t* limit_data = const_data_of<int64_t>(bounds);
  const int64_t n_columns = columns.n_voices * columns.n_pitches;
  bool* start_data = struck.has_value() ? data_of<bool>(starts) : nullptr;
  launch(fill_gaps, n_columns, columns, const_data_of<bool>(sounding),
         struck.has_value() ? const_data_of<bool>(*struck) : nullptr, limit_data, data_of<bool>(filled), start_data);
  with_type(strengths.has_value() ? logits_dtype("logits", *strengths) : Dtype::kFloat, [&](auto* typed) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(typed)>>;
    launch(keep_strongest<T>, frame.numel(), columns, const_data_of<bool>(filled),
           strengths.has_value() ? const_data_of<T>(*strengths) : nullptr, limit_data, data_of<bool>(kept));
  });
  launch(drop_short, n_columns, columns, limit_data, data_of<bool>(kept), start_data);
  return {kept, starts};
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CUDA, m) { m.impl("cleanup", TORCH_BOX(&musegan::cleanup)); }

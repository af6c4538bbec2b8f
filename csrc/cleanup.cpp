// cleanup: makes rolls playable, on the CPU. Loops: cpu/cleanup.h.
#include <algorithm>
#include <tuple>
#include <vector>

#include "tensors.h"

namespace musegan {
namespace {

constexpr int64_t kGrain = 1 << 15;  // cells a thread takes at least

void check_like(const char* name, const Tensor& plane, const Tensor& frame) {
  STD_TORCH_CHECK(plane.dim() == frame.dim() &&
                      std::equal(frame.sizes().begin(), frame.sizes().end(), plane.sizes().begin()),
                  name, " must have the shape of frame");
}

const uint8_t* cells(const Tensor& plane) { return static_cast<const uint8_t*>(plane.const_data_ptr()); }

// One for each track, from the rows of `limits`.
std::vector<CleanupLimits> checked_limits(const Tensor& limits_in, int64_t n_tracks, int64_t n_pitches, bool ranked) {
  STD_TORCH_CHECK(limits_in.dim() == 2 && limits_in.size(0) == n_tracks && limits_in.size(1) == 3,
                  "limits must be [K, 3], with K = ", n_tracks);
  STD_TORCH_CHECK(limits_in.scalar_type() == ScalarType::Long, "limits must be Long: got ",
                  torch::headeronly::toString(limits_in.scalar_type()));
  const Tensor limits = row_major(limits_in);
  const int64_t* row = static_cast<const int64_t*>(limits.const_data_ptr());
  std::vector<CleanupLimits> tracks;
  for (int64_t k = 0; k < n_tracks; ++k, row += 3) {
    STD_TORCH_CHECK(row[0] >= 1 && row[1] >= 0 && row[2] >= 0,
                    "limits must be min_steps >= 1, max_gap_steps >= 0, max_pitches >= 0: got [", row[0], ", ", row[1],
                    ", ", row[2], "]");
    STD_TORCH_CHECK(ranked || row[2] >= n_pitches, "max_pitches needs logits to choose by: got max_pitches = ", row[2],
                    " without");
    tracks.push_back({row[0], row[1], row[2]});
  }
  return tracks;
}

std::tuple<Tensor, Tensor> cleanup(const Tensor& frame_in, const std::optional<Tensor>& onset_in,
                                   const std::optional<Tensor>& logits_in, const Tensor& limits_in) {
  STD_TORCH_CHECK(frame_in.dim() == 5, "frame must have five axes [N, K, B, T, P]: got ", frame_in.dim());
  STD_TORCH_CHECK(frame_in.scalar_type() == ScalarType::Bool, "frame must be Bool: got ",
                  torch::headeronly::toString(frame_in.scalar_type()));
  const int64_t n_tracks = frame_in.size(1), n_pitches = frame_in.size(4);
  STD_TORCH_CHECK(n_pitches <= 128, "P must be at most 128: got ", n_pitches);
  const Tensor frame = row_major(frame_in);
  std::optional<Tensor> onset, logits;
  Logits source{nullptr, Dtype::kFloat, nullptr, 1};
  if (onset_in.has_value()) {
    check_like("onset", *onset_in, frame);
    STD_TORCH_CHECK(onset_in->scalar_type() == ScalarType::Bool, "onset must be Bool: got ",
                    torch::headeronly::toString(onset_in->scalar_type()));
    onset = row_major(*onset_in);
  }
  if (logits_in.has_value()) {
    check_like("logits", *logits_in, frame);
    source.dtype = logits_dtype("logits", *logits_in);
    logits = row_major(*logits_in);
    source.data = logits->const_data_ptr();
  }
  const std::vector<CleanupLimits> limits = checked_limits(limits_in, n_tracks, n_pitches, logits.has_value());

  Tensor frame_out = torch::stable::new_empty(frame, frame.sizes(), ScalarType::Bool);
  Tensor onset_out = onset.has_value() ? torch::stable::new_empty(frame, frame.sizes(), ScalarType::Bool)
                                       : torch::stable::new_empty(frame, {0}, ScalarType::Bool);
  if (frame.numel() == 0) return {frame_out, onset_out};
  const int64_t n_steps = frame.size(2) * frame.size(3), line_cells = n_steps * n_pitches;
  const uint8_t *frame_data = cells(frame), *onset_data = onset.has_value() ? cells(*onset) : nullptr;
  uint8_t* const frame_to = static_cast<uint8_t*>(frame_out.mutable_data_ptr());
  uint8_t* const onset_to = onset.has_value() ? static_cast<uint8_t*>(onset_out.mutable_data_ptr()) : nullptr;
  torch::stable::parallel_for(
      0, frame.size(0) * n_tracks, std::max<int64_t>(1, kGrain / line_cells), [&](int64_t first, int64_t last) {
        std::vector<char> scratch(n_steps * kCleanupBytes);
        for (int64_t line = first; line < last; ++line) {
          const int64_t at = line * line_cells;
          level().cleanup(frame_data + at, onset_data == nullptr ? nullptr : onset_data + at, source, at, n_steps,
                          static_cast<int>(n_pitches), limits[line % n_tracks], scratch.data(), frame_to + at,
                          onset_to == nullptr ? nullptr : onset_to + at);
        }
      });
  return {frame_out, onset_out};
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CPU, m) { m.impl("cleanup", TORCH_BOX(&musegan::cleanup)); }

// notes and roll_from_notes on CUDA. Kernels: notes.cuh, cells.cuh.
#include "notes.cuh"

#include <array>

#include "launch.h"

namespace musegan {
namespace {

// Sums along a vector, up to and with each element.
Tensor running_sum(const Tensor& x) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(x), torch::stable::detail::from(int64_t{0}),
                                    torch::stable::detail::from(std::nullopt)};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::cumsum", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

template <typename Plane>
Tensor notes_of(const Launcher& launch, const Sounding<Plane>& roll, const Tensor& frame, int64_t n_rows) {
  Tensor counts = torch::stable::new_empty(frame, {n_rows}, ScalarType::Long);
  Tensor misplaced = torch::stable::new_zeros(frame, {1}, ScalarType::Long);
  launch(count_starts<Plane>, n_rows, roll, n_rows, data_of<int64_t>(counts), data_of<int64_t>(misplaced));
  const Tensor ends = running_sum(counts);

  // The number of notes is the size of the result: the one thing the host has to wait for.
  int64_t n_notes = 0, any_misplaced = 0;
  check_cuda(cudaMemcpyAsync(&n_notes, const_data_of<int64_t>(ends) + (n_rows - 1), sizeof(n_notes),
                             cudaMemcpyDeviceToHost, launch.stream()));
  check_cuda(cudaMemcpyAsync(&any_misplaced, const_data_of<int64_t>(misplaced), sizeof(any_misplaced),
                             cudaMemcpyDeviceToHost, launch.stream()));
  check_cuda(cudaStreamSynchronize(launch.stream()));
  STD_TORCH_CHECK(any_misplaced == 0, "an onset must sound: onset is True where frame is False");

  Tensor notes = torch::stable::new_empty(frame, {n_notes, kNoteColumns}, ScalarType::Long);
  launch(write_notes<Plane>, n_notes == 0 ? 0 : n_rows, roll, n_rows, frame.size(1), const_data_of<int64_t>(counts),
         const_data_of<int64_t>(ends), data_of<int64_t>(notes));
  return notes;
}

Tensor notes(const Tensor& frame, const std::optional<Tensor>& onset, int64_t n_pitches) {
  const bool packed = frame.scalar_type() == ScalarType::Byte;
  if (!packed) check_dtype("frame", frame, ScalarType::Bool);
  const int64_t n_bytes = (n_pitches + 7) / 8;
  STD_TORCH_CHECK(frame.dim() == 5 && n_pitches >= 0 && frame.size(4) == (packed ? n_bytes : n_pitches),
                  "frame must be [N, K, B, T, P], or its bits: n_pitches=", n_pitches);
  if (onset.has_value()) {
    check_dtype("onset", *onset, frame.scalar_type());
    check_same_sizes("onset", *onset, frame);
  }
  const Launcher launch(frame, {onset});
  if (frame.numel() == 0) return torch::stable::new_empty(frame, {0, kNoteColumns}, ScalarType::Long);

  const Tensor sounding = row_major(frame);
  std::optional<Tensor> struck;
  if (onset.has_value()) struck = row_major(*onset);
  const void* frame_data = sounding.const_data_ptr();
  const void* onset_data = struck.has_value() ? struck->const_data_ptr() : nullptr;
  const int64_t n_steps = frame.size(2) * frame.size(3), n_rows = frame.size(0) * frame.size(1) * n_steps;
  if (packed) {
    const auto plane = [=](const void* data) { return PackedPlane{static_cast<const uint8_t*>(data), n_bytes}; };
    return notes_of(launch, Sounding<PackedPlane>{plane(frame_data), plane(onset_data), n_steps, n_pitches}, sounding,
                    n_rows);
  }
  const auto plane = [=](const void* data) { return BoolPlane{static_cast<const bool*>(data), n_pitches}; };
  return notes_of(launch, Sounding<BoolPlane>{plane(frame_data), plane(onset_data), n_steps, n_pitches}, sounding,
                  n_rows);
}

Tensor packed_plane(const Launcher& launch, const Tensor& plane) {
  Tensor out = torch::stable::new_empty(plane, packed_sizes(plane), ScalarType::Byte);
  if (out.numel() == 0) return out;
  const StoredCell cell{const_data_of<uint8_t>(plane)};
  launch(write_packed_cells<StoredCell>, out.numel(), cell, plane.numel() / plane.size(-1), plane.size(-1),
         data_of<uint8_t>(out));
  return out;
}

std::tuple<Tensor, Tensor> roll_from_notes(const Tensor& notes, const std::vector<int64_t>& shape, bool packed) {
  check_dtype("notes", notes, ScalarType::Long);
  STD_TORCH_CHECK(notes.dim() == 2 && notes.size(1) == kNoteColumns, "notes must be [n, 5]");
  STD_TORCH_CHECK(shape.size() == 5, "shape must be N, K, B, T, P: got ", shape.size(), " sizes");
  const Launcher launch(notes);
  const Tensor rows = row_major(notes);
  Tensor frame = torch::stable::new_zeros(rows, shape, ScalarType::Bool);
  Tensor onset = torch::stable::new_zeros(rows, shape, ScalarType::Bool);
  const RollShape sizes{shape[0], shape[1], shape[2] * shape[3], shape[4]};
  launch(draw_notes, rows.size(0), const_data_of<int64_t>(rows), rows.size(0), sizes, data_of<bool>(frame),
         data_of<bool>(onset));
  if (!packed) return {frame, onset};
  return {packed_plane(launch, frame), packed_plane(launch, onset)};
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CUDA, m) {
  m.impl("notes", TORCH_BOX(&musegan::notes));
  m.impl("roll_from_notes", TORCH_BOX(&musegan::roll_from_notes));
}

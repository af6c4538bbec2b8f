// notes: the notes of a roll, bool or packed, and roll_from_notes, on the CPU. Loops over cells: cpu/notes.h.
#include <algorithm>
#include <atomic>
#include <tuple>
#include <vector>

#include "tensors.h"

namespace musegan {
namespace {

constexpr int64_t kColumns = 5;      // sample, track, pitch_index, start_step, end_step
constexpr int64_t kGrain = 1 << 16;  // cells a thread takes at least

// The plane [N, K, B, T, P] bool or [N, K, B, T, ceil(P / 8)] uint8, row by row.
Tensor checked_plane(const char* name, const Tensor& plane, ScalarType dtype, int64_t row_bytes) {
  STD_TORCH_CHECK(plane.dim() == 5, name, " must have five axes [N, K, B, T, P]: got ", plane.dim());
  STD_TORCH_CHECK(plane.scalar_type() == dtype, name, " must be ", torch::headeronly::toString(dtype), ": got ",
                  torch::headeronly::toString(plane.scalar_type()));
  STD_TORCH_CHECK(plane.size(4) == row_bytes, name, " must have rows of ", row_bytes, ": got ", plane.size(4));
  return row_major(plane);
}

Tensor notes(const Tensor& frame_in, const std::optional<Tensor>& onset_in, int64_t n_pitches) {
  const bool packed = frame_in.scalar_type() == ScalarType::Byte;
  STD_TORCH_CHECK(n_pitches >= 0 && n_pitches <= 128, "n_pitches must be 0 to 128: got ", n_pitches);
  const int64_t row_bytes = packed ? (n_pitches + 7) / 8 : n_pitches;
  const ScalarType dtype = packed ? ScalarType::Byte : ScalarType::Bool;
  const Tensor frame = checked_plane("frame", frame_in, dtype, row_bytes);
  const uint8_t* const frame_data = static_cast<const uint8_t*>(frame.const_data_ptr());
  std::optional<Tensor> onset;
  const uint8_t* onset_data = nullptr;
  if (onset_in.has_value()) {
    onset = checked_plane("onset", *onset_in, dtype, row_bytes);
    STD_TORCH_CHECK(std::equal(frame.sizes().begin(), frame.sizes().end(), onset->sizes().begin()),
                    "planes must have one shape");
    onset_data = static_cast<const uint8_t*>(onset->const_data_ptr());
  }
  if (frame.numel() == 0) return torch::stable::new_empty(frame, {0, kColumns}, ScalarType::Long);

  // Parts of some lines each, in order: every one makes a list of its own, and the lists are joined.
  const int64_t n_tracks = frame.size(1), n_lines = frame.size(0) * n_tracks, n_steps = frame.size(2) * frame.size(3);
  const int64_t n_threads = torch::stable::get_num_threads();
  const int64_t least = std::max<int64_t>(1, kGrain / (n_steps * n_pitches));
  const int64_t lines = std::max(least, (n_lines + 4 * n_threads - 1) / (4 * n_threads));
  std::vector<std::vector<int64_t>> parts((n_lines + lines - 1) / lines);
  const int64_t n_parts = static_cast<int64_t>(parts.size());
  std::atomic<bool> all_onsets_sound{true};
  torch::stable::parallel_for(0, n_parts, 1, [&](int64_t first, int64_t last) {
    std::vector<char> events((n_steps + 1) * kNoteEventBytes);
    for (int64_t line = first * lines; line < std::min(last * lines, n_lines); ++line) {
      const int64_t at = line * n_steps * row_bytes;
      int64_t n_notes = 0;
      const int64_t n_events =
          level().note_events(frame_data + at, onset_data == nullptr ? nullptr : onset_data + at, n_steps,
                              static_cast<int>(n_pitches), packed, events.data(), &n_notes);
      if (n_notes < 0) {
        all_onsets_sound = false;
        return;
      }
      std::vector<int64_t>& part = parts[line / lines];
      const size_t begin = part.size();
      part.resize(begin + n_notes * kColumns);
      level().write_notes(events.data(), n_events, line / n_tracks, line % n_tracks, part.data() + begin);
    }
  });
  STD_TORCH_CHECK(all_onsets_sound, "an onset must sound: onset is True where frame is False");

  std::vector<int64_t> begins(n_parts + 1, 0);
  for (int64_t i = 0; i < n_parts; ++i) begins[i + 1] = begins[i] + static_cast<int64_t>(parts[i].size());
  Tensor out = torch::stable::new_empty(frame, {begins[n_parts] / kColumns, kColumns}, ScalarType::Long);
  int64_t* const out_data = static_cast<int64_t*>(out.mutable_data_ptr());
  torch::stable::parallel_for(0, n_parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) std::copy(parts[i].begin(), parts[i].end(), out_data + begins[i]);
  });
  return out;
}

std::tuple<Tensor, Tensor> roll_from_notes(const Tensor& notes_in, std::vector<int64_t> shape, bool packed) {
  STD_TORCH_CHECK(notes_in.dim() == 2 && notes_in.size(1) == kColumns, "notes must be [n, 5]");
  STD_TORCH_CHECK(notes_in.scalar_type() == ScalarType::Long, "notes must be Long: got ",
                  torch::headeronly::toString(notes_in.scalar_type()));
  STD_TORCH_CHECK(shape.size() == 5, "shape must be [N, K, B, T, P]: got ", shape.size(), " axes");
  STD_TORCH_CHECK(*std::min_element(shape.begin(), shape.end()) >= 0, "shape must not be negative");
  const int64_t n_samples = shape[0], n_tracks = shape[1], n_pitches = shape[4];
  STD_TORCH_CHECK(n_pitches <= 128, "P must be at most 128: got ", n_pitches);
  const int64_t row_bytes = packed ? (n_pitches + 7) / 8 : n_pitches;
  shape[4] = row_bytes;
  const ScalarType dtype = packed ? ScalarType::Byte : ScalarType::Bool;
  Tensor frame = torch::stable::new_zeros(notes_in, shape, dtype);
  Tensor onset = torch::stable::new_zeros(notes_in, shape, dtype);
  const Tensor notes = row_major(notes_in);
  const int64_t n_notes = notes.size(0);
  STD_TORCH_CHECK(n_notes == 0 || frame.numel() > 0, "a note must lie within the roll and last a step: got ", n_notes,
                  " notes for an empty roll");
  if (n_notes == 0) return {frame, onset};

  // The roll exists now, so no product of its sizes is too large.
  const int64_t n_steps = shape[2] * shape[3], n_lines = n_samples * n_tracks;
  const int64_t* const begin = static_cast<const int64_t*>(notes.const_data_ptr());
  const int64_t* const end = begin + n_notes * kColumns;
  const auto within = [](int64_t index, int64_t size) { return index >= 0 && index < size; };
  for (const int64_t* note = begin; note != end; note += kColumns) {
    STD_TORCH_CHECK(within(note[0], n_samples) && within(note[1], n_tracks) && within(note[2], n_pitches) &&
                        note[3] >= 0 && note[3] < note[4] && note[4] <= n_steps,
                    "a note must lie within the roll and last a step: got [", note[0], ", ", note[1], ", ", note[2],
                    ", ", note[3], ", ", note[4], "]");
  }

  uint8_t* const frame_data = static_cast<uint8_t*>(frame.mutable_data_ptr());
  uint8_t* const onset_data = static_cast<uint8_t*>(onset.mutable_data_ptr());
  const int64_t grain = std::max<int64_t>(1, kGrain / (n_steps * n_pitches));
  // Each thread reads all notes, which come in any order, and draws those of its lines.
  torch::stable::parallel_for(0, n_lines, grain, [&](int64_t first, int64_t last) {
    for (const int64_t* note = begin; note != end; note += kColumns) {
      const int64_t line = note[0] * n_tracks + note[1], pitch = note[2];
      if (line < first || line >= last) continue;
      const int64_t column = packed ? pitch / 8 : pitch;
      const uint8_t cell = packed ? 0x80 >> (pitch % 8) : 1;
      const int64_t at = (line * n_steps + note[3]) * row_bytes + column;
      onset_data[at] |= cell;
      uint8_t* place = frame_data + at;
      for (int64_t left = note[4] - note[3]; left > 0; --left, place += row_bytes) *place |= cell;
    }
  });
  return {frame, onset};
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CPU, m) {
  m.impl("notes", TORCH_BOX(&musegan::notes));
  m.impl("roll_from_notes", TORCH_BOX(&musegan::roll_from_notes));
}

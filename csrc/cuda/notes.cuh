// notes and roll_from_notes on CUDA: the kernels. Planes are [N * K, S, P], S = B * T steps through the bars.
#pragma once

#include "cells.cuh"

namespace musegan {

constexpr int kNoteColumns = 5;  // sample, track, pitch_index, start_step, end_step

// A plane of cells, by row (voice * S + step) and pitch.
struct BoolPlane {
  const bool* data;
  int64_t n_pitches;
  __device__ bool at(int64_t row, int64_t pitch) const { return data[row * n_pitches + pitch]; }
};
struct PackedPlane {
  const uint8_t* data;
  int64_t n_bytes;
  __device__ bool at(int64_t row, int64_t pitch) const { return bit_of(data + row * n_bytes, pitch); }
};

// Where notes start and end; onset.data is null where there is no onset plane.
template <typename Plane>
struct Sounding {
  Plane frame, onset;
  int64_t n_steps, n_pitches;
  // A start for a cell that sounds, `step` being its row's.
  __device__ bool starts(int64_t row, int64_t step, int64_t pitch) const {
    return step == 0 || !frame.at(row - 1, pitch) || has_onset(row, pitch);
  }
  __device__ bool has_onset(int64_t row, int64_t pitch) const {
    return onset.data != nullptr && onset.at(row, pitch);
  }
};

// Thread -> row: how many notes start in it. Sets *misplaced to 1 for an onset where nothing sounds.
template <typename Plane>
__global__ void count_starts(Sounding<Plane> roll, int64_t n_rows, int64_t* counts, int64_t* misplaced) {
  for (int64_t row = first_index(); row < n_rows; row += index_stride()) {
    const int64_t step = modulo(row, roll.n_steps);
    int64_t count = 0;
    for (int64_t pitch = 0; pitch < roll.n_pitches; ++pitch) {
      if (roll.frame.at(row, pitch)) {
        count += roll.starts(row, step, pitch);
      } else if (roll.has_onset(row, pitch)) {
        *misplaced = 1;  // by any number of threads, all the same
      }
    }
    counts[row] = count;
  }
}

// Thread -> row -> the notes that start in it, `ends` being the running sum of the counts; each walks to its end.
template <typename Plane>
__global__ void write_notes(Sounding<Plane> roll, int64_t n_rows, int64_t n_tracks, const int64_t* counts,
                            const int64_t* ends, int64_t* notes) {
  for (int64_t row = first_index(); row < n_rows; row += index_stride()) {
    if (counts[row] == 0) continue;
    int64_t* note = notes + (ends[row] - counts[row]) * kNoteColumns;
    const int64_t voice = quotient(row, roll.n_steps), step = row - voice * roll.n_steps;
    for (int64_t pitch = 0; pitch < roll.n_pitches; ++pitch) {
      if (!roll.frame.at(row, pitch) || !roll.starts(row, step, pitch)) continue;
      int64_t end = step + 1;
      while (end < roll.n_steps && roll.frame.at(row + (end - step), pitch) &&
             !roll.has_onset(row + (end - step), pitch)) {
        ++end;
      }
      note[0] = quotient(voice, n_tracks);
      note[1] = modulo(voice, n_tracks);
      note[2] = pitch;
      note[3] = step;
      note[4] = end;
      note += kNoteColumns;
    }
  }
}

// Sizes of a roll that notes are drawn into.
struct RollShape {
  int64_t n_samples, n_tracks, n_steps, n_pitches;
};

// Thread -> note: True along it. Planes start all False; where notes overlap, all write the same. A note that does not
// fit is left out: the public function refuses it first.
__global__ void draw_notes(const int64_t* notes, int64_t n, RollShape shape, bool* frame, bool* onset) {
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    const int64_t* note = notes + i * kNoteColumns;
    const int64_t sample = note[0], track = note[1], pitch = note[2], start = note[3], end = note[4];
    const bool fits = sample >= 0 && sample < shape.n_samples && track >= 0 && track < shape.n_tracks && pitch >= 0 &&
                      pitch < shape.n_pitches && start >= 0 && start < end && end <= shape.n_steps;
    if (!fits) continue;
    const int64_t first = (sample * shape.n_tracks + track) * shape.n_steps;
    onset[(first + start) * shape.n_pitches + pitch] = true;
    for (int64_t step = start; step < end; ++step) frame[(first + step) * shape.n_pitches + pitch] = true;
  }
}

}  // namespace musegan

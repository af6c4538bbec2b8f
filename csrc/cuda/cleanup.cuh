// cleanup on CUDA: three kernels, one after the other. Planes are [N, K, S, P], S = B * T steps through the bars.
#pragma once

#include <cmath>

#include "../floats.h"
#include "index.cuh"

namespace musegan {

constexpr int64_t kNoLimit = 128;  // max_pitches from here on keeps all

// Columns of planes: one pitch of one track of one phrase, cell s of which lies at first + s * n_pitches.
struct Columns {
  int64_t n_voices, n_tracks, n_steps, n_pitches;  // n_voices = N * K
  __device__ int64_t count() const { return n_voices * n_pitches; }
  __device__ int64_t first(int64_t column) const {
    const int64_t voice = quotient(column, n_pitches);
    return voice * n_steps * n_pitches + (column - voice * n_pitches);
  }
  // Limits [K, 3] of the column's track: min_steps, max_gap_steps, max_pitches.
  __device__ const int64_t* limits_of(const int64_t* limits, int64_t column) const {
    return limits + 3 * modulo(quotient(column, n_pitches), n_tracks);
  }
};

// Gaps. Thread -> column; walks it along time. Writes `filled` and, where onset and starts are not null, all starts.
__global__ void fill_gaps(Columns columns, const bool* frame, const bool* onset, const int64_t* limits, bool* filled,
                          bool* starts) {
  for (int64_t column = first_index(); column < columns.count(); column += index_stride()) {
    const int64_t max_gap_steps = columns.limits_of(limits, column)[1];
    const int64_t pitches = columns.n_pitches, first = columns.first(column);
    int64_t sounded_until = -1;  // end of the last note before this step; -1 before the first
    bool before = false;
    for (int64_t s = 0; s < columns.n_steps; ++s) {
      const int64_t cell = first + s * pitches;
      const bool sounds = frame[cell], rises = sounds && !before;
      const bool joins = rises && sounded_until >= 0 && s - sounded_until <= max_gap_steps;
      if (joins) {
        for (int64_t t = sounded_until; t < s; ++t) filled[first + t * pitches] = true;
      }
      filled[cell] = sounds;
      if (starts != nullptr) starts[cell] = !joins && (rises || (sounds && onset[cell]));
      if (sounds) sounded_until = s + 1;
      before = sounds;
    }
  }
}

__device__ inline double loudness(double x) { return x == x ? x : -INFINITY; }
template <typename T>
__device__ inline float loudness(T x) {
  const float value = to_float(x);
  return value == value ? value : -INFINITY;
}

// Polyphony. Thread -> cell; counts the stronger cells that sound in its step. Without logits lower pitches are
// stronger.
template <typename T>
__global__ void keep_strongest(Columns columns, const bool* filled, const T* logits, const int64_t* limits,
                               bool* kept) {
  const int64_t pitches = columns.n_pitches;
  for (int64_t cell = first_index(); cell < columns.count() * columns.n_steps; cell += index_stride()) {
    const int64_t row = quotient(cell, pitches), pitch = cell - row * pitches;
    const int64_t track = modulo(quotient(row, columns.n_steps), columns.n_tracks);
    const int64_t max_pitches = limits[3 * track + 2];
    bool keep = filled[cell];
    if (keep && max_pitches < kNoLimit) {
      int64_t n_stronger = 0;
      for (int64_t p = 0; p < pitches && n_stronger < max_pitches; ++p) {
        const int64_t other = row * pitches + p;
        if (p == pitch || !filled[other]) continue;
        const auto mine = logits == nullptr ? 0 : loudness(logits[cell]);
        const auto its = logits == nullptr ? 0 : loudness(logits[other]);
        n_stronger += its > mine || (its == mine && p < pitch);
      }
      keep = n_stronger < max_pitches;
    }
    kept[cell] = keep;
  }
}

// Short notes, in place. Thread -> column; walks it along time. `starts` is null, or holds what fill_gaps found.
__global__ void drop_short(Columns columns, const int64_t* limits, bool* frame, bool* starts) {
  for (int64_t column = first_index(); column < columns.count(); column += index_stride()) {
    const int64_t min_steps = columns.limits_of(limits, column)[0];
    const int64_t pitches = columns.n_pitches, first = columns.first(column);
    int64_t start = -1;  // of the note that sounds; -1 in silence
    for (int64_t s = 0; s <= columns.n_steps; ++s) {
      const int64_t cell = first + s * pitches;
      const bool sounds = s < columns.n_steps && frame[cell];
      const bool starts_here = sounds && (start < 0 || (starts != nullptr && starts[cell]));
      if (start >= 0 && (starts_here || !sounds) && s - start < min_steps) {
        for (int64_t t = start; t < s; ++t) frame[first + t * pitches] = false;
        if (starts != nullptr) starts[first + start * pitches] = false;
      }
      if (starts != nullptr && s < columns.n_steps) starts[cell] = starts_here;
      start = starts_here ? s : sounds ? start : -1;
    }
  }
}

}  // namespace musegan

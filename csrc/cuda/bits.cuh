// unpack and gather_phrases on CUDA: the kernels; pack is write_packed_cells of StoredCell.
#pragma once

#include "cells.cuh"

namespace musegan {

// Thread -> cell i: row i / n_pitches, pitch i % n_pitches.
template <typename Out>
__global__ void unpack_cells(const uint8_t* bits, int64_t n_rows, int64_t n_pitches, Out* out) {
  const int64_t n_bytes = (n_pitches + 7) / 8;
  for (int64_t i = first_index(); i < n_rows * n_pitches; i += index_stride()) {
    const int64_t row = quotient(i, n_pitches);
    out[i] = static_cast<Out>(bit_of(bits + row * n_bytes, i - row * n_pitches));
  }
}

// Some neighbouring shards of a data set, as an argument of a kernel: no copy to the device, nothing to wait for.
struct Shards {
  static constexpr int kMost = 128;
  const uint8_t* data[kMost];  // [bars, K, T, n_bytes] each
  int64_t first_bar[kMost + 1];  // global, ascending; ends with the bar after the last shard
  int count;
};

// Shapes of gather_phrases: out is [N, K, B, T, P].
struct Gathered {
  int64_t n_phrases, n_tracks, n_bars, n_steps, n_pitches;
  int64_t all_bars;  // of the data set
};

// Thread -> cell i of out -> (phrase, track, bar, step, pitch). Cells of bars in other shards are left to other
// launches; cells of bars that the data set does not have are silent.
template <typename Out>
__global__ void gather_cells(const __grid_constant__ Shards shards, Gathered shape, const int64_t* starts,
                             const int64_t* semitones, Out* out) {
  const int64_t n_bytes = (shape.n_pitches + 7) / 8;
  const int64_t n = shape.n_phrases * shape.n_tracks * shape.n_bars * shape.n_steps * shape.n_pitches;
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    const int64_t row = quotient(i, shape.n_pitches), pitch = i - row * shape.n_pitches;
    const int64_t bar_row = quotient(row, shape.n_steps), step = row - bar_row * shape.n_steps;
    const int64_t voice = quotient(bar_row, shape.n_bars);  // phrase * n_tracks + track
    const int64_t phrase = quotient(voice, shape.n_tracks), track = voice - phrase * shape.n_tracks;
    const int64_t start = starts[phrase], bar_of_phrase = bar_row - voice * shape.n_bars;
    const bool outside = start >= shape.all_bars - bar_of_phrase || start < -bar_of_phrase;
    if (outside) {
      out[i] = static_cast<Out>(false);
      continue;
    }
    const int64_t bar = start + bar_of_phrase;
    if (bar < shards.first_bar[0] || bar >= shards.first_bar[shards.count]) continue;
    int shard = 0, after = shards.count;  // first_bar[shard] <= bar < first_bar[after]
    while (after - shard > 1) {
      const int middle = (shard + after) / 2;
      (bar < shards.first_bar[middle] ? after : shard) = middle;
    }
    const int64_t move = semitones[voice];
    bool value = false;
    if (move > -shape.n_pitches && move < shape.n_pitches) {
      const int64_t source = pitch - move;
      const int64_t source_row =
          ((bar - shards.first_bar[shard]) * shape.n_tracks + track) * shape.n_steps + step;
      value = source >= 0 && source < shape.n_pitches && bit_of(shards.data[shard] + source_row * n_bytes, source);
    }
    out[i] = static_cast<Out>(value);
  }
}

}  // namespace musegan

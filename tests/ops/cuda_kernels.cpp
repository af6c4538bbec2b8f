// The kernels of csrc/cuda/*.cuh as plain functions for ctypes. Every integer is an int64_t; the first two are the
// grid.
#include "cuda_shim.h"

#include <type_traits>

#include "../../csrc/cuda/binarize.cuh"
#include "../../csrc/cuda/bits.cuh"
#include "../../csrc/cuda/cleanup.cuh"
#include "../../csrc/cuda/neurons.cuh"
#include "../../csrc/cuda/notes.cuh"

using namespace musegan;

namespace {

// dtype: 0 float32, 1 float64, 2 float16, 3 bfloat16.
template <typename Body>
void with_type(int64_t dtype, const Body& body) {
  if (dtype == 0) body(float{});
  if (dtype == 1) body(double{});
  if (dtype == 2) body(Half{});
  if (dtype == 3) body(BFloat16{});
}

// n_pitches < 0: a roll; else its bits.
template <typename Cell>
void write(int64_t blocks, int64_t threads, const Cell& cell, int64_t n, int64_t n_pitches, void* out) {
  if (n_pitches < 0) return launch(blocks, threads, write_cells<Cell>, cell, n, static_cast<bool*>(out));
  const int64_t n_rows = n_pitches == 0 ? 0 : n / n_pitches;
  launch(blocks, threads, write_packed_cells<Cell>, cell, n_rows, n_pitches, static_cast<uint8_t*>(out));
}

template <typename T, typename Real>
ThresholdCell<T, Real> threshold_cell(const void* x, const void* each, int64_t period, Real at) {
  return {static_cast<const T*>(x), static_cast<const Real*>(each), period, at};
}

// body(roll, one of its planes)
template <typename Body>
void with_roll(int64_t packed, const void* frame, const void* onset, int64_t n_steps, int64_t n_pitches,
               const Body& body) {
  if (packed) {
    const auto plane = [=](const void* x) { return PackedPlane{static_cast<const uint8_t*>(x), (n_pitches + 7) / 8}; };
    body(Sounding<PackedPlane>{plane(frame), plane(onset), n_steps, n_pitches}, plane(frame));
  } else {
    const auto plane = [=](const void* x) { return BoolPlane{static_cast<const bool*>(x), n_pitches}; };
    body(Sounding<BoolPlane>{plane(frame), plane(onset), n_steps, n_pitches}, plane(frame));
  }
}

}  // namespace

extern "C" {

void denominators(int64_t, int64_t, const float* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = denominator(x[i]);
}

void to_floats(int64_t, int64_t, int64_t dtype, const uint16_t* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = dtype == 2 ? to_float(Half{x[i]}) : to_float(BFloat16{x[i]});
}

void from_floats(int64_t, int64_t, int64_t dtype, const float* x, int64_t n, void* out) {
  for (int64_t i = 0; i < n; ++i) {
    dtype == 2 ? from_float(x[i], static_cast<Half*>(out)[i]) : from_float(x[i], static_cast<BFloat16*>(out)[i]);
  }
}

void threshold(int64_t blocks, int64_t threads, int64_t dtype, const void* x, double at, const void* each,
               int64_t period, int64_t n, int64_t n_pitches, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    if constexpr (std::is_same_v<T, double>) {
      write(blocks, threads, threshold_cell<T, double>(x, each, period, at), n, n_pitches, out);
    } else {
      write(blocks, threads, threshold_cell<T, float>(x, each, period, static_cast<float>(at)), n, n_pitches, out);
    }
  });
}

void bernoulli(int64_t blocks, int64_t threads, int64_t dtype, const void* x, int64_t seed, int64_t offset,
               const float* each, int64_t period, int64_t n, int64_t n_pitches, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const LessenedLogit<T> logit{static_cast<const T*>(x), each, period};
    const Key key = Key::of_seed(seed);
    if (n_pitches >= 0) return write(blocks, threads, BernoulliCell<T>{logit, key, offset}, n, n_pitches, out);
    launch(blocks, threads, bernoulli_cells<T>, logit, n, key, offset, static_cast<bool*>(out));
  });
}

void neuron(int64_t blocks, int64_t threads, int64_t dtype, const void* x, int64_t n, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    launch(blocks, threads, neuron_outputs<T>, static_cast<const T*>(x), n, static_cast<T*>(out));
  });
}

void stochastic_neuron(int64_t blocks, int64_t threads, int64_t dtype, const void* x, double slope, int64_t seed,
                       int64_t offset, int64_t n, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const SlopedLogit<T> logit{static_cast<const T*>(x), static_cast<float>(slope)};
    launch(blocks, threads, stochastic_neuron_outputs<T>, logit, n, Key::of_seed(seed), offset, static_cast<T*>(out));
  });
}

void neuron_backward(int64_t blocks, int64_t threads, int64_t dtype, const void* grad, const void* x, double slope,
                     int64_t n, void* out) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    launch(blocks, threads, neuron_gradients<T>, static_cast<const T*>(grad), static_cast<const T*>(x), slope, n,
           static_cast<T*>(out));
  });
}

void pack(int64_t blocks, int64_t threads, const uint8_t* roll, int64_t n, int64_t n_pitches, uint8_t* out) {
  write(blocks, threads, StoredCell{roll}, n, n_pitches, out);
}

void unpack(int64_t blocks, int64_t threads, const uint8_t* bits, int64_t n_rows, int64_t n_pitches, int64_t as_float,
            void* out) {
  if (as_float) return launch(blocks, threads, unpack_cells<float>, bits, n_rows, n_pitches, static_cast<float*>(out));
  launch(blocks, threads, unpack_cells<bool>, bits, n_rows, n_pitches, static_cast<bool*>(out));
}

// One launch for one or two of the shards: bars first_bar <= bar < middle, and middle <= bar < last unless shard1 is
// null.
void gather_phrases(int64_t blocks, int64_t threads, const uint8_t* shard0, const uint8_t* shard1, int64_t first_bar,
                    int64_t middle, int64_t last, int64_t all_bars, const int64_t* starts, const int64_t* semitones,
                    int64_t n_phrases, int64_t n_tracks, int64_t n_bars, int64_t n_steps, int64_t n_pitches,
                    int64_t as_float, void* out) {
  const Shards shards{{shard0, shard1}, {first_bar, middle, last}, shard1 == nullptr ? 1 : 2};
  const Gathered shape{n_phrases, n_tracks, n_bars, n_steps, n_pitches, all_bars};
  if (as_float) {
    launch(blocks, threads, gather_cells<float>, shards, shape, starts, semitones, static_cast<float*>(out));
  } else {
    launch(blocks, threads, gather_cells<bool>, shards, shape, starts, semitones, static_cast<bool*>(out));
  }
}

void cleanup_gaps(int64_t blocks, int64_t threads, int64_t n_voices, int64_t n_tracks, int64_t n_steps,
                  int64_t n_pitches, const bool* frame, const bool* onset, const int64_t* limits, bool* filled,
                  bool* starts) {
  launch(blocks, threads, fill_gaps, Columns{n_voices, n_tracks, n_steps, n_pitches}, frame, onset, limits, filled,
         starts);
}

void cleanup_polyphony(int64_t blocks, int64_t threads, int64_t n_voices, int64_t n_tracks, int64_t n_steps,
                       int64_t n_pitches, int64_t dtype, const bool* filled, const void* logits, const int64_t* limits,
                       bool* kept) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    launch(blocks, threads, keep_strongest<T>, Columns{n_voices, n_tracks, n_steps, n_pitches}, filled,
           static_cast<const T*>(logits), limits, kept);
  });
}

void cleanup_short(int64_t blocks, int64_t threads, int64_t n_voices, int64_t n_tracks, int64_t n_steps,
                   int64_t n_pitches, const int64_t* limits, bool* frame, bool* starts) {
  launch(blocks, threads, drop_short, Columns{n_voices, n_tracks, n_steps, n_pitches}, limits, frame, starts);
}

void notes_count(int64_t blocks, int64_t threads, int64_t packed, const void* frame, const void* onset, int64_t n_rows,
                 int64_t n_steps, int64_t n_pitches, int64_t* counts, int64_t* misplaced) {
  with_roll(packed, frame, onset, n_steps, n_pitches, [&](auto roll, auto plane) {
    launch(blocks, threads, count_starts<decltype(plane)>, roll, n_rows, counts, misplaced);
  });
}

void notes_write(int64_t blocks, int64_t threads, int64_t packed, const void* frame, const void* onset, int64_t n_rows,
                 int64_t n_steps, int64_t n_pitches, int64_t n_tracks, const int64_t* counts, const int64_t* ends,
                 int64_t* notes) {
  with_roll(packed, frame, onset, n_steps, n_pitches, [&](auto roll, auto plane) {
    launch(blocks, threads, write_notes<decltype(plane)>, roll, n_rows, n_tracks, counts, ends, notes);
  });
}

void notes_draw(int64_t blocks, int64_t threads, const int64_t* notes, int64_t n, int64_t n_samples, int64_t n_tracks,
                int64_t n_steps, int64_t n_pitches, bool* frame, bool* onset) {
  launch(blocks, threads, draw_notes, notes, n, RollShape{n_samples, n_tracks, n_steps, n_pitches}, frame, onset);
}

}  // extern "C"

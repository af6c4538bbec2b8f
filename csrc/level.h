// The kernels of one instruction-set level: a table of functions, one table each for generic, AVX2 and AVX-512.
// csrc/cpu/NAME.h holds the loops of op NAME, compiled once per level by csrc/cpu/level_*.cpp.
#pragma once

#include <cstdint>

namespace musegan {

enum class Dtype { kFloat, kDouble, kHalf, kBFloat16 };

// Logits as the kernels read them; element i is data[i], compared with or lessened by each[i % period].
struct Logits {
  const void* data;
  Dtype dtype;
  const void* each;  // null, or `period` numbers: double where dtype is kDouble and the op is threshold, else float
  int64_t period;
};

// What cleanup holds the notes of one track to; 128 pitches or more are no limit.
struct CleanupLimits {
  int64_t min_steps, max_gap_steps, max_pitches;
};

struct Level {
  const char* name;

  // binarize.h: elements begin <= i < end of x, to out[i - begin].
  void (*threshold)(const Logits& x, double at, int64_t begin, int64_t end, bool* out);
  void (*bernoulli)(const Logits& x, int64_t seed, int64_t offset, int64_t begin, int64_t end, bool* out);
  void (*denominators)(const float* x, float* d, int64_t n);  // 1 + exp(-x) as sampling defines it
  // The largest relative distance of the filter's 1 + exp(-x) from the defined one, over the floats whose bits are
  // first <= bits < last; and how far apart the filter of this level lets them be.
  double (*filter_error)(uint64_t first, uint64_t last);
  double filter_margin;

  // neurons.h: elements begin <= i < end of x, to out[i] in the dtype of x.
  void (*neuron)(const void* x, Dtype dtype, int64_t begin, int64_t end, void* out);
  void (*stochastic_neuron)(const void* x, Dtype dtype, float slope, int64_t seed, int64_t offset, int64_t begin,
                            int64_t end, void* out);
  void (*neuron_backward)(const void* grad, const void* x, Dtype dtype, double slope, int64_t begin, int64_t end,
                          void* out);

  // bits.h: rows of n cells, one byte each, to ceil(n / 8) bytes and back; one bar of one track, transposed.
  void (*pack)(const uint8_t* in, int64_t n_rows, int64_t n, uint8_t* out);
  void (*unpack)(const uint8_t* in, int64_t n_rows, int64_t n, bool as_float, void* out);
  void (*unpack_moved)(const uint8_t* in, int64_t n_steps, int n, int64_t pitches, bool as_float, void* out);

  // notes.h: one line (one track of one phrase) of n_steps rows of n <= 128 cells, a byte or a packed bit each.
  // note_events finds the steps in which something starts or ends, for write_notes, and how many notes that makes
  // (-1: an onset lies outside frame). `events` has room for n_steps + 1 of kNoteEventBytes; `onset` may be null.
  int64_t (*note_events)(const uint8_t* frame, const uint8_t* onset, int64_t n_steps, int n, bool packed,
                         void* events, int64_t* n_notes);
  void (*write_notes)(const void* events, int64_t n_events, int64_t sample, int64_t track, int64_t* out);

  // cleanup.h: one line of n_steps rows of n <= 128 cells, a byte each; its first logit is logits.data[first].
  // `onset` and `onset_out` may be null, and logits.data where no step can have too many pitches. `scratch` has room
  // for n_steps times kCleanupBytes.
  void (*cleanup)(const uint8_t* frame, const uint8_t* onset, const Logits& logits, int64_t first, int64_t n_steps,
                  int n, CleanupLimits limits, void* scratch, uint8_t* frame_out, uint8_t* onset_out);
};

constexpr int64_t kNoteEventBytes = 40;
constexpr int64_t kCleanupBytes = 64;

extern const Level kGenericLevel, kAvx2Level, kAvx512Level;  // the last two on x86-64 only

// The level in use: the best this CPU has, what MUSEGAN_CPU_LEVEL names, or what use_level chose.
// Throws std::invalid_argument for an unknown level, or one this CPU lacks.
const Level& level();

// Changes the level of the whole process: for tests and benchmarks.
void use_level(const char* name);

// The names of the levels this CPU has, ending with null.
const char* const* level_names();

}  // namespace musegan

// cleanup: a line (one track of one phrase, its time running through the bars) made playable, all pitches at once.
#include "floats.h"
#include "rows.h"

// rows[t] becomes the OR of rows[t - reach] .. rows[t]; before the first all is silent.
static void spread_later(Row* rows, int64_t n, int64_t reach) {
  for (int64_t covered = 1, step; covered <= reach; covered += step) {
    step = covered <= reach - covered ? covered : reach + 1 - covered;
    for (int64_t t = n - 1; t >= step; --t) rows[t] = rows[t] | rows[t - step];
  }
}

// rows[t] becomes the AND of rows[t] .. rows[t + reach]; after the last all is silent.
static void shrink_earlier(Row* rows, int64_t n, int64_t reach) {
  for (int64_t covered = 1, step; covered <= reach; covered += step) {
    step = covered <= reach - covered ? covered : reach + 1 - covered;
    int64_t t = 0;
    for (; t + step < n; ++t) rows[t] = rows[t] & rows[t + step];
    for (; t < n; ++t) rows[t] = {0, 0};
  }
}

#if defined(MUSEGAN_AVX512)
constexpr int kVectorBytes = 64;
#elif defined(MUSEGAN_AVX2)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// The `most` cells of a row with the largest logits, of equal ones the lower pitches; NaN counts as -infinity.
template <typename T, typename Rank>
static Row strongest(Row row, const T* logits, int64_t most) {
  typedef T Values __attribute__((vector_size(kVectorBytes)));
  typedef Rank Ranks __attribute__((vector_size(kVectorBytes)));
  constexpr int kBlock = kVectorBytes / sizeof(T);  // cells whose ranks are counted together
  const uint64_t words[2] = {row.low, row.high};
  T values[128];
  Rank ranks[128];  // how many are stronger
  int n = 0;
  for (int word = 0; word < 2; ++word) {
    for (uint64_t left = words[word]; left != 0; left &= left - 1) {
      const T logit = logits[64 * word + __builtin_ctzll(left)];
      values[n++] = logit == logit ? logit : -static_cast<T>(__builtin_inf());
    }
  }
  for (int i = n; i % kBlock != 0; ++i) values[i] = 0;  // whatever: their ranks are not used
  for (int first = 0; first < n; first += kBlock) {
    Values block;
    memcpy(&block, values + first, sizeof(block));
    Ranks stronger = {};
    for (int j = 0; j < n; ++j) stronger -= values[j] > block;  // True is -1
    memcpy(ranks + first, &stronger, sizeof(stronger));
  }
  Rank last = -1;  // of those that stay; equal ones have equal ranks
  for (int i = 0; i < n; ++i) last = ranks[i] < most && ranks[i] > last ? ranks[i] : last;
  int64_t room = most - last;  // for those of that rank
  uint64_t kept[2] = {0, 0};
  const Rank* rank = ranks;
  for (int word = 0; word < 2; ++word) {
    for (uint64_t left = words[word]; left != 0; left &= left - 1, ++rank) {
      // No branches: they would be foretold wrong.
      const uint64_t is_last = *rank == last, stays = (*rank < last) | (is_last & (room > 0));
      kept[word] |= left & (0 - left) & (0 - stays);
      room -= is_last;
    }
  }
  return {kept[0], kept[1]};
}

// Fills gaps of at most `reach` steps: what follows them starts no more. `work` holds n_steps + reach rows.
static void close_gaps(Row* sounds, Row* starts, int64_t n_steps, int64_t reach, Row* work) {
  memcpy(work, sounds, n_steps * sizeof(Row));
  memset(work + n_steps, 0, reach * sizeof(Row));
  spread_later(work, n_steps + reach, reach);
  shrink_earlier(work, n_steps + reach, reach);
  Row filled = {0, 0};  // in the step before
  for (int64_t t = 0; t < n_steps; ++t) {
    starts[t] = starts[t] & ~filled;
    filled = work[t] & ~sounds[t];
    sounds[t] = work[t];
  }
}

static void limit_pitches(Row* sounds, Row* starts, const Logits& logits, int64_t first, int64_t n_steps, int n,
                          int64_t most) {
  float buffer[128];
  Row before = {0, 0};
  for (int64_t t = 0; t < n_steps; ++t) {
    if (count(sounds[t]) > most) {
      const int64_t begin = first + t * n;
      sounds[t] = logits.dtype == Dtype::kDouble
                      ? strongest<double, int64_t>(sounds[t], static_cast<const double*>(logits.data) + begin, most)
                      : strongest<float, int32_t>(
                            sounds[t], as_floats(logits.data, logits.dtype, begin, n, buffer), most);
    }
    starts[t] = (starts[t] & sounds[t]) | (sounds[t] & ~before);
    before = sounds[t];
  }
}

// `work` holds n_steps rows.
static void drop_short_notes(Row* sounds, Row* starts, int64_t n_steps, int64_t min_steps, Row* work) {
  for (int64_t t = 0; t < n_steps; ++t) work[t] = sounds[t] & ~starts[t];
  shrink_earlier(work, n_steps, min_steps - 2);  // now: this step and min_steps - 2 after it go on
  Row kept = {0, 0};
  for (int64_t t = 0; t < n_steps; ++t) {
    const Row goes_on = sounds[t] & ~starts[t];
    starts[t] = starts[t] & (t + 1 < n_steps ? work[t + 1] : Row{0, 0});
    kept = starts[t] | (kept & goes_on);
    sounds[t] = kept;
  }
}

static void cleanup(const uint8_t* frame, const uint8_t* onset, const Logits& logits, int64_t first, int64_t n_steps,
                    int n, CleanupLimits limits, void* scratch, uint8_t* frame_out, uint8_t* onset_out) {
  static_assert(4 * sizeof(Row) == kCleanupBytes, "scratch is allocated by csrc/cleanup.cpp");
  Row* const sounds = static_cast<Row*>(scratch);
  Row* const starts = sounds + n_steps;
  Row* const work = starts + n_steps;  // 2 n_steps
  Row before = {0, 0}, ever = {0, 0};
  for (int64_t t = 0; t < n_steps; ++t) {
    const Row row = row_of_bytes(frame + t * n, n);
    const Row struck = onset == nullptr ? Row{0, 0} : row_of_bytes(onset + t * n, n);
    sounds[t] = row;
    starts[t] = row & (struck | ~before);
    before = row;
    ever = ever | row;
  }
  if (any(ever)) {
    const int64_t gap = limits.max_gap_steps < n_steps ? limits.max_gap_steps : n_steps;
    if (gap > 0) close_gaps(sounds, starts, n_steps, gap, work);
    if (limits.max_pitches < n) limit_pitches(sounds, starts, logits, first, n_steps, n, limits.max_pitches);
    // A note longer than the line is none, whatever its length.
    const int64_t min_steps = limits.min_steps <= n_steps ? limits.min_steps : n_steps + 1;
    if (min_steps > 1) drop_short_notes(sounds, starts, n_steps, min_steps, work);
  }
  for (int64_t t = 0; t < n_steps; ++t) {
    bytes_of_row(sounds[t], n, frame_out + t * n);
    if (onset_out != nullptr) bytes_of_row(starts[t], n, onset_out + t * n);
  }
}

// pack, unpack and gather_phrases, on the CPU. Loops: cpu/bits.h.
#include <algorithm>
#include <vector>

#include "tensors.h"

namespace musegan {
namespace {

constexpr int64_t kGrain = 1 << 16;  // cells a thread takes at least

// Rows of n cells, as many as there are; where no padding lies between them, rows of 8 cells.
struct Rows {
  int64_t count, n, grain;
  Rows(int64_t numel, int64_t last) : n(last % 8 == 0 ? 8 : last) {
    count = numel / n;
    grain = std::max<int64_t>(1, kGrain / n);
  }
  int64_t bytes() const { return (n + 7) / 8; }
};

Tensor pack(const Tensor& roll) {
  STD_TORCH_CHECK(roll.scalar_type() == ScalarType::Bool || roll.scalar_type() == ScalarType::Byte,
                  "roll must be bool or uint8: got ", torch::headeronly::toString(roll.scalar_type()));
  const Tensor x = row_major(roll);
  Tensor out = torch::stable::new_empty(x, packed_sizes(x), ScalarType::Byte);
  if (x.numel() == 0) return out;
  const uint8_t* in = static_cast<const uint8_t*>(x.const_data_ptr());
  uint8_t* out_data = static_cast<uint8_t*>(out.mutable_data_ptr());
  const Rows rows(x.numel(), x.size(-1));
  torch::stable::parallel_for(0, rows.count, rows.grain, [&](int64_t begin, int64_t end) {
    level().pack(in + begin * rows.n, end - begin, rows.n, out_data + begin * rows.bytes());
  });
  return out;
}

void check_byte(const char* name, const Tensor& bits) {
  STD_TORCH_CHECK(bits.scalar_type() == ScalarType::Byte, name, " must be Byte: got ",
                  torch::headeronly::toString(bits.scalar_type()));
}

Tensor unpack(const Tensor& bits, int64_t n_pitches, bool as_float) {
  check_byte("bits", bits);
  STD_TORCH_CHECK(bits.dim() > 0 && n_pitches >= 0 && bits.size(-1) == n_pitches / 8 + (n_pitches % 8 != 0),
                  "bits must have ceil(n_pitches / 8) bytes in a row: n_pitches=", n_pitches);
  const Tensor packed = row_major(bits);
  std::vector<int64_t> sizes(packed.sizes().begin(), packed.sizes().end());
  sizes.back() = n_pitches;
  Tensor out = torch::stable::new_empty(packed, sizes, as_float ? ScalarType::Float : ScalarType::Bool);
  if (out.numel() == 0) return out;
  const uint8_t* in = static_cast<const uint8_t*>(packed.const_data_ptr());
  char* out_data = static_cast<char*>(out.mutable_data_ptr());
  const Rows rows(out.numel(), n_pitches);
  const int64_t row_bytes = rows.n * (as_float ? 4 : 1);
  torch::stable::parallel_for(0, rows.count, rows.grain, [&](int64_t begin, int64_t end) {
    level().unpack(in + begin * rows.bytes(), end - begin, rows.n, as_float, out_data + begin * row_bytes);
  });
  return out;
}

Tensor gather_phrases(const std::vector<Tensor>& shards_in, const Tensor& starts_in, const Tensor& semitones_in,
                      int64_t n_bars, int64_t n_pitches, bool as_float) {
  STD_TORCH_CHECK(!shards_in.empty(), "shards must not be empty");
  STD_TORCH_CHECK(n_bars >= 0 && n_pitches >= 0 && n_pitches <= 128,
                  "n_bars must not be negative, and n_pitches 0 to 128: got ", n_bars, ", ", n_pitches);
  STD_TORCH_CHECK(starts_in.scalar_type() == ScalarType::Long && semitones_in.scalar_type() == ScalarType::Long,
                  "starts and semitones must be int64");
  const int64_t n_bytes = (n_pitches + 7) / 8;
  std::vector<Tensor> shards;
  std::vector<int64_t> first_bars{0};  // of each shard, and the number of all bars
  for (const Tensor& shard : shards_in) {
    check_byte("shards", shard);
    STD_TORCH_CHECK(shard.dim() == 4 && shard.size(1) == shards_in[0].size(1) &&
                        shard.size(2) == shards_in[0].size(2) && shard.size(3) == n_bytes,
                    "shards must be [bars, K, T, ceil(n_pitches / 8)], with one K and T: n_pitches=", n_pitches);
    shards.push_back(row_major(shard));
    first_bars.push_back(first_bars.back() + shard.size(0));
  }
  const int64_t n_tracks = shards[0].size(1), n_steps = shards[0].size(2), n_all = first_bars.back();
  STD_TORCH_CHECK(starts_in.dim() == 1 && semitones_in.dim() == 2 && semitones_in.size(0) == starts_in.size(0) &&
                      semitones_in.size(1) == n_tracks,
                  "starts must be [N] and semitones [N, K]: K=", n_tracks);
  const Tensor starts = row_major(starts_in), semitones = row_major(semitones_in);
  const int64_t n_phrases = starts.size(0);
  const int64_t* start_data = static_cast<const int64_t*>(starts.const_data_ptr());
  const int64_t* semitone_data = static_cast<const int64_t*>(semitones.const_data_ptr());
  for (int64_t i = 0; i < n_phrases; ++i) {
    STD_TORCH_CHECK(start_data[i] >= 0 && n_bars <= n_all && start_data[i] <= n_all - n_bars, "phrases of ", n_bars,
                    " bars must lie within the ", n_all, " bars: got ", start_data[i]);
  }
  Tensor out = torch::stable::new_empty(shards[0], {n_phrases, n_tracks, n_bars, n_steps, n_pitches},
                                        as_float ? ScalarType::Float : ScalarType::Bool);
  if (out.numel() == 0) return out;
  char* out_data = static_cast<char*>(out.mutable_data_ptr());
  const int64_t bar_cells = n_steps * n_pitches, bar_bytes = bar_cells * (as_float ? 4 : 1);
  const int64_t n_cells = n_phrases * n_tracks * n_bars;  // cells of [N, K, B]
  torch::stable::parallel_for(0, n_cells, std::max<int64_t>(1, kGrain / bar_cells), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t phrase = i / (n_tracks * n_bars), track = i / n_bars % n_tracks;
      const int64_t bar = start_data[phrase] + i % n_bars;
      const auto after = std::upper_bound(first_bars.begin(), first_bars.end(), bar);
      const size_t shard = after - first_bars.begin() - 1;
      const int64_t at = ((bar - first_bars[shard]) * n_tracks + track) * n_steps * n_bytes;
      level().unpack_moved(static_cast<const uint8_t*>(shards[shard].const_data_ptr()) + at, n_steps,
                           static_cast<int>(n_pitches), semitone_data[phrase * n_tracks + track], as_float,
                           out_data + i * bar_bytes);
    }
  });
  return out;
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CPU, m) {
  m.impl("pack", TORCH_BOX(&musegan::pack));
  m.impl("unpack", TORCH_BOX(&musegan::unpack));
  m.impl("gather_phrases", TORCH_BOX(&musegan::gather_phrases));
}

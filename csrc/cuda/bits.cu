// pack, unpack and gather_phrases on CUDA. Kernels: bits.cuh, cells.cuh.
#include "bits.cuh"

#include "launch.h"

namespace musegan {
namespace {

Tensor pack(const Tensor& roll) {
  STD_TORCH_CHECK(roll.scalar_type() == ScalarType::Bool || roll.scalar_type() == ScalarType::Byte,
                  "roll must be bool or uint8: got ", torch::headeronly::toString(roll.scalar_type()));
  const Launcher launch(roll);
  const Tensor x = row_major(roll);
  Tensor out = torch::stable::new_empty(x, packed_sizes(x), ScalarType::Byte);
  if (out.numel() == 0) return out;
  const StoredCell cell{const_data_of<uint8_t>(x)};
  launch(write_packed_cells<StoredCell>, out.numel(), cell, x.numel() / x.size(-1), x.size(-1),
         data_of<uint8_t>(out));
  return out;
}

ScalarType roll_dtype(bool as_float) { return as_float ? ScalarType::Float : ScalarType::Bool; }

Tensor unpack(const Tensor& bits, int64_t n_pitches, bool as_float) {
  check_dtype("bits", bits, ScalarType::Byte);
  STD_TORCH_CHECK(bits.dim() > 0 && n_pitches >= 0 && bits.size(-1) == (n_pitches + 7) / 8,
                  "bits must have ceil(n_pitches / 8) bytes in a row: n_pitches=", n_pitches);
  const Launcher launch(bits);
  const Tensor packed = row_major(bits);
  std::vector<int64_t> sizes(packed.sizes().begin(), packed.sizes().end());
  sizes.back() = n_pitches;
  Tensor out = torch::stable::new_empty(packed, sizes, roll_dtype(as_float));
  const int64_t n = out.numel(), n_rows = n == 0 ? 0 : n / n_pitches;
  const uint8_t* data = const_data_of<uint8_t>(packed);
  if (as_float) {
    launch(unpack_cells<float>, n, data, n_rows, n_pitches, data_of<float>(out));
  } else {
    launch(unpack_cells<bool>, n, data, n_rows, n_pitches, data_of<bool>(out));
  }
  return out;
}

// Phrases that leave the data set are silent there: to refuse them here would wait for the device, so the public
// function does it, on the host.
Tensor gather_phrases(const std::vector<Tensor>& shards, const Tensor& starts, const Tensor& semitones, int64_t n_bars,
                      int64_t n_pitches, bool as_float) {
  STD_TORCH_CHECK(!shards.empty(), "shards must not be empty");
  check_dtype("starts", starts, ScalarType::Long);
  check_dtype("semitones", semitones, ScalarType::Long);
  STD_TORCH_CHECK(starts.dim() == 1 && semitones.dim() == 2 && semitones.size(0) == starts.size(0) && n_bars >= 0 &&
                      n_pitches >= 0,
                  "starts must be [N], semitones [N, K], n_bars and n_pitches not negative");
  const Launcher launch(shards[0], {starts, semitones});
  const Tensor first_bars = row_major(starts), moves = row_major(semitones);
  Gathered shape{starts.size(0), semitones.size(1), n_bars, 0, n_pitches, 0};
  std::vector<Tensor> kept;  // row-major copies, where a shard is not
  for (const Tensor& shard : shards) {
    check_dtype("shards", shard, ScalarType::Byte);
    STD_TORCH_CHECK(shard.dim() == 4 && shard.size(1) == shape.n_tracks && shard.size(2) == shards[0].size(2) &&
                        shard.size(3) == (n_pitches + 7) / 8,
                    "shards must be [bars, K, T, ceil(n_pitches / 8)]: K=", shape.n_tracks, ", n_pitches=", n_pitches);
    STD_TORCH_CHECK(shard.is_cuda() && shard.get_device_index() == shards[0].get_device_index(),
                    "all shards must be on one device");
    kept.push_back(row_major(shard));
    shape.all_bars += shard.size(0);
  }
  shape.n_steps = shards[0].size(2);
  Tensor out = torch::stable::new_empty(
      shards[0], {shape.n_phrases, shape.n_tracks, shape.n_bars, shape.n_steps, shape.n_pitches}, roll_dtype(as_float));

  int64_t bar = 0;
  for (size_t next = 0; next < kept.size();) {
    Shards some{};
    some.first_bar[0] = bar;
    for (; next < kept.size() && some.count < Shards::kMost; ++next) {
      some.data[some.count] = const_data_of<uint8_t>(kept[next]);
      bar += kept[next].size(0);
      some.first_bar[++some.count] = bar;
    }
    const int64_t *start_data = const_data_of<int64_t>(first_bars), *move_data = const_data_of<int64_t>(moves);
    if (as_float) {
      launch(gather_cells<float>, out.numel(), some, shape, start_data, move_data, data_of<float>(out));
    } else {
      launch(gather_cells<bool>, out.numel(), some, shape, start_data, move_data, data_of<bool>(out));
    }
  }
  return out;
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CUDA, m) {
  m.impl("pack", TORCH_BOX(&musegan::pack));
  m.impl("unpack", TORCH_BOX(&musegan::unpack));
  m.impl("gather_phrases", TORCH_BOX(&musegan::gather_phrases));
}

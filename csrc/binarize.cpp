// threshold and bernoulli: logits to a roll, or to its packed bits, on the CPU. Loops: cpu/binarize.h.
#include <algorithm>
#include <vector>

#include "sampling.h"
#include "tensors.h"

namespace musegan {
namespace {

constexpr int64_t kGrain = 32768;      // elements a thread takes at least
constexpr int64_t kTile = 64 * kGroup;  // elements binarized at a time on their way to packed bits

// Calls fill(begin, end, out) for all elements of x, by threads; gives a roll [..., P] or its bits [..., ceil(P/8)].
template <typename Fill>
Tensor binarized(const Tensor& x, bool packed, int64_t grain, const Fill& fill) {
  const int64_t n = x.numel();
  if (!packed) {
    Tensor out = torch::stable::new_empty(x, x.sizes(), ScalarType::Bool);
    bool* out_data = static_cast<bool*>(out.mutable_data_ptr());
    torch::stable::parallel_for(0, n, grain,
                                [&](int64_t begin, int64_t end) { fill(begin, end, out_data + begin); });
    return out;
  }
  const std::vector<int64_t> sizes = packed_sizes(x);
  const int64_t n_pitches = x.size(-1), n_bytes = sizes.back();
  Tensor out = torch::stable::new_empty(x, sizes, ScalarType::Byte);
  if (n == 0) return out;
  uint8_t* out_data = static_cast<uint8_t*>(out.mutable_data_ptr());
  // Whole rows to a tile, or where a row is longer than that, tiles to a row.
  const int64_t n_rows = n / n_pitches;
  const int64_t tile_rows = std::max<int64_t>(1, kTile / n_pitches), row_tiles = (n_pitches + kTile - 1) / kTile;
  const int64_t n_tiles = (n_rows + tile_rows - 1) / tile_rows * row_tiles;
  torch::stable::parallel_for(0, n_tiles, 1, [&](int64_t first, int64_t last) {
    bool tile[kTile];
    for (int64_t t = first; t < last; ++t) {
      const int64_t row = t / row_tiles * tile_rows, column = t % row_tiles * kTile;
      const int64_t rows = std::min(tile_rows, n_rows - row), columns = std::min(kTile, n_pitches - column);
      const int64_t begin = row * n_pitches + column;
      fill(begin, begin + (rows - 1) * n_pitches + columns, tile);
      level().pack(reinterpret_cast<const uint8_t*>(tile), rows, columns, out_data + row * n_bytes + column / 8);
    }
  });
  return out;
}

Tensor threshold(const Tensor& logits, double at, const std::optional<Tensor>& each, bool packed) {
  const Tensor x = row_major(logits);
  const bool is_double = x.scalar_type() == ScalarType::Double;
  const Logits source = logits_of(x, each, is_double ? ScalarType::Double : ScalarType::Float);
  const double bound = is_double ? at : round_down(at);
  return binarized(x, packed, kGrain, [&](int64_t begin, int64_t end, bool* out) {
    level().threshold(source, bound, begin, end, out);
  });
}

Tensor bernoulli(const Tensor& logits, int64_t seed, int64_t offset, const std::optional<Tensor>& each, bool packed) {
  const Tensor x = row_major(logits);
  const Logits source = logits_of(x, each, ScalarType::Float);
  check_offset(offset, x.numel());
  return binarized(x, packed, kGrain, [&](int64_t begin, int64_t end, bool* out) {
    level().bernoulli(source, seed, offset, begin, end, out);
  });
}

}  // namespace
}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CPU, m) {
  m.impl("threshold", TORCH_BOX(&musegan::threshold));
  m.impl("bernoulli", TORCH_BOX(&musegan::bernoulli));
}

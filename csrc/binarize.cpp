// threshold and bernoulli: logits to a roll, or to its packed bits, on the CPU. Loops: cpu/binarize.h.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "sampling.h"
#include "tensors.h"

namespace musegan {
namespace {

constexpr int64_t kGrain = 32768;      // elements a thread takes at least
constexpr int64_t kTile = 64 * kGroup;  // elements binarized at a time on their way to packed bits

// The largest float that is not above `at`: x > at exactly where x > round_down(at).
float round_down(double at) {
  const float nearest = static_cast<float>(at);
  return nearest > at ? std::nextafter(nearest, -std::numeric_limits<float>::infinity()) : nearest;
}

Logits logits_of(const Tensor& x, const std::optional<Tensor>& each, ScalarType each_dtype) {
  Logits logits{x.const_data_ptr(), logits_dtype("logits", x), nullptr, 1};
  if (each.has_value()) {
    STD_TORCH_CHECK(each->scalar_type() == each_dtype && each->is_contiguous(), "each must be contiguous ",
                    torch::headeronly::toString(each_dtype), ": got ",
                    torch::headeronly::toString(each->scalar_type()));
    logits.each = each->const_data_ptr();
    logits.period = each->numel();
    STD_TORCH_CHECK(x.numel() == 0 || (logits.period > 0 && x.numel() % logits.period == 0),
                    "each must repeat a whole number of times: got ", logits.period, " for ", x.numel(), " logits");
  }
  return logits;
}

// Calls fill(begin, end, out) for all elements of x, by threads, and gives a roll [..., P] or its bits [..., ceil(P/8)].
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
  STD_TORCH_CHECK(x.dim() > 0, "logits to be packed must have an axis of pitches: got none");
  const int64_t n_pitches = x.size(-1), n_bytes = (n_pitches + 7) / 8;
  std::vector<int64_t> sizes(x.sizes().begin(), x.sizes().end());
  sizes.back() = n_bytes;
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
  const int64_t n = x.numel();
  STD_TORCH_CHECK(offset >= 0, "offset must not be negative: got ", offset);
  STD_TORCH_CHECK(offset <= std::numeric_limits<int64_t>::max() - n,
                  "offset plus the number of elements must stay below 2^63: got ", offset, " + ", n);
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

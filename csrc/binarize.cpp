// threshold and bernoulli: logits to a boolean roll, on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels.h"
#include "sampling.h"

namespace musegan {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kThresholdGrain = 32768;  // elements a thread takes at least
constexpr int64_t kBernoulliGrain = 64;     // groups a thread takes at least

void check_dtype(const Tensor& logits) {
  const ScalarType dtype = logits.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double ||
                      dtype == ScalarType::Half || dtype == ScalarType::BFloat16,
                  "logits must be float32, float64, float16 or bfloat16: got ",
                  torch::headeronly::toString(dtype));
}

// Calls f with the typed data of a tensor that passed check_dtype.
template <typename F>
void with_data(const Tensor& x, const F& f) {
  const void* data = x.const_data_ptr();
  switch (x.scalar_type()) {
    case ScalarType::Double:
      return f(static_cast<const double*>(data));
    case ScalarType::Half:
      return f(static_cast<const torch::headeronly::Half*>(data));
    case ScalarType::BFloat16:
      return f(static_cast<const torch::headeronly::BFloat16*>(data));
    default:
      return f(static_cast<const float*>(data));
  }
}

Tensor row_major(const Tensor& logits) {
  return logits.is_contiguous() ? logits : torch::stable::contiguous(logits);
}

// ---- threshold: out[i] = x[i] > at, compared as real numbers ----

// The largest T that is not above `at`: x > at exactly where x > round_down(at).
template <typename T>
T round_down(double at) {
  const T nearest = static_cast<T>(at);
  return nearest > at ? std::nextafter(nearest, -std::numeric_limits<T>::infinity()) : nearest;
}

Tensor threshold(const Tensor& logits, double at) {
  check_dtype(logits);
  const Tensor x = row_major(logits);
  Tensor out = torch::stable::new_empty(x, x.sizes(), ScalarType::Bool);
  bool* out_data = static_cast<bool*>(out.mutable_data_ptr());
  with_data(x, [&](const auto* x_data) {
    constexpr bool is_double = std::is_same_v<decltype(x_data), const double*>;
    using Real = std::conditional_t<is_double, double, float>;
    const Real bound = round_down<Real>(at);
    torch::stable::parallel_for(0, x.numel(), kThresholdGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out_data[i] = static_cast<Real>(x_data[i]) > bound;
    });
  });
  return out;
}

// ---- bernoulli: see sampling.h ----

// words[k][i] = word k of the top-bits block i of a group.
void top_words(uint64_t group, Key key, uint32_t (&words)[4][kBlocks]) {
  const uint64_t first = group * kBlocks;  // a multiple of 32: its low word never carries below
  for (int i = 0; i < kBlocks; ++i) {
    words[0][i] = static_cast<uint32_t>(first) + i;
    words[1][i] = static_cast<uint32_t>(first >> 32);
    words[2][i] = kTop;
    words[3][i] = 0;
  }
  for (uint32_t round = 0; round < 10; ++round) {
    for (int i = 0; i < kBlocks; ++i) {
      philox_round(words[0][i], words[1][i], words[2][i], words[3][i], key, round);
    }
  }
}

// One whole group: filter by the top 16 bits, refine the few elements these leave undecided.
template <typename T>
void sample_group(const T* x, bool* out, uint64_t group, Key key) {
  uint32_t words[4][kBlocks];
  top_words(group, key, words);
  float d[kGroup], top[kGroup];
  for (int e = 0; e < kGroup; ++e) d[e] = denominator(static_cast<float>(x[e]));
  for (int h = 0; h < kHalves; ++h) {
    for (int i = 0; i < kBlocks; ++i) {
      top[h * kBlocks + i] =
          static_cast<float>(static_cast<int32_t>(half_word(words[h / 2][i], h)));
    }
  }
  int any_undecided = 0;
  for (int e = 0; e < kGroup; ++e) {
    out[e] = surely_one(top[e], d[e]);
    any_undecided |= undecided(top[e], d[e]);
  }
  if (!any_undecided) return;
  for (int e = 0; e < kGroup; ++e) {
    if (!undecided(top[e], d[e])) continue;
    out[e] = sample(static_cast<uint32_t>(top[e]) << 16 | low_bits(group, e, key), d[e]);
  }
}

// Elements first <= e < last of a group, at either end of the tensor.
template <typename T>
void sample_part(const T* x, bool* out, uint64_t group, Key key, int64_t first, int64_t last) {
  T whole_x[kGroup] = {};
  bool whole_out[kGroup];
  std::copy(x, x + (last - first), whole_x + first);
  sample_group(whole_x, whole_out, group, key);
  std::copy(whole_out + first, whole_out + last, out);
}

Tensor bernoulli(const Tensor& logits, int64_t seed, int64_t offset) {
  check_dtype(logits);
  const int64_t n = logits.numel();
  STD_TORCH_CHECK(offset >= 0, "offset must not be negative: got ", offset);
  STD_TORCH_CHECK(offset <= std::numeric_limits<int64_t>::max() - n,
                  "offset plus the number of elements must stay below 2^63: got ", offset, " + ",
                  n);
  const Tensor x = row_major(logits);
  Tensor out = torch::stable::new_empty(x, x.sizes(), ScalarType::Bool);
  if (n == 0) return out;
  const Key key = Key::of_seed(seed);
  bool* out_data = static_cast<bool*>(out.mutable_data_ptr());
  with_data(x, [&](const auto* x_data) {
    const auto run = [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        const int64_t start = g * kGroup - offset;  // index of the group's element 0
        const int64_t first = std::max<int64_t>(0, -start);
        const int64_t last = std::min<int64_t>(kGroup, n - start);
        if (last - first == kGroup) {
          sample_group(x_data + start, out_data + start, g, key);
        } else {
          sample_part(x_data + start + first, out_data + start + first, g, key, first, last);
        }
      }
    };
    torch::stable::parallel_for(offset / kGroup, (offset + n - 1) / kGroup + 1, kBernoulliGrain,
                                run);
  });
  return out;
}

}  // namespace

const char* threshold_level() { return "generic"; }
const char* bernoulli_level() { return "generic"; }

void denominators(const float* x, float* d, int64_t n) {
  for (int64_t i = 0; i < n; ++i) d[i] = denominator(x[i]);
}

}  // namespace musegan

STABLE_TORCH_LIBRARY_IMPL(musegan, CPU, m) {
  m.impl("threshold", TORCH_BOX(&musegan::threshold));
  m.impl("bernoulli", TORCH_BOX(&musegan::bernoulli));
}

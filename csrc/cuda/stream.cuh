// Samples of a numbered random stream: the definition in ../sampling.h, by single elements and by whole Philox blocks.
#pragma once

#include "../floats.h"
#include "index.cuh"

namespace musegan {

// Element e of a group for logit x; `top` is the top half of its random number. The low half is drawn only where it
// decides.
__device__ inline bool sample_of(float x, uint32_t top, uint64_t group, int e, Key key) {
  const float d = denominator(x), top_float = static_cast<float>(static_cast<int32_t>(top));
  if (!undecided(top_float, d)) return surely_one(top_float, d);
  return sample(top << 16 | low_bits(group, e, key), d);
}

// The words of the Philox block that elements lane, lane + 32, ... of a group share.
__device__ inline void draw_tops(uint64_t group, int lane, Key key, uint32_t (&words)[4]) {
  const uint64_t block = group * kBlocks + lane;
  words[0] = static_cast<uint32_t>(block);
  words[1] = static_cast<uint32_t>(block >> 32);
  words[2] = kTop;
  words[3] = 0;
  philox(words, key);
}

// Element j of the stream for logit x, by itself.
__device__ inline bool sample_at(float x, uint64_t j, Key key) {
  const uint64_t group = j / kGroup;
  const int e = static_cast<int>(j % kGroup), h = e / kBlocks;
  uint32_t words[4];
  draw_tops(group, e % kBlocks, key, words);
  return sample_of(x, half_word(words[h / 2], h), group, e, key);
}

// Elements offset <= j < offset + n of the stream: write(i, sample for logit(i)), i = j - offset. A thread takes Philox
// blocks: thread -> (group, lane) -> the 8 elements lane + 32 h of the group, so that a warp's are next to each other.
template <typename Logit, typename Write>
__device__ inline void sample_stream(Logit logit, int64_t n, Key key, int64_t offset, Write write) {
  if (n == 0) return;
  const int64_t first_group = offset / kGroup, n_groups = (offset + (n - 1)) / kGroup - first_group + 1;
  const int64_t skip = offset % kGroup;  // elements of the first group that are not ours
  for (int64_t b = first_index(); b < n_groups * kBlocks; b += index_stride()) {
    const int64_t group = b / kBlocks;
    const int lane = static_cast<int>(b % kBlocks);
    uint32_t words[4];
    draw_tops(first_group + group, lane, key, words);
    for (int h = 0; h < kHalves; ++h) {
      const int e = lane + kBlocks * h;
      const int64_t i = group * kGroup + e - skip;
      if (i < 0 || i >= n) continue;
      write(i, sample_of(logit(i), half_word(words[h / 2], h), first_group + group, e, key));
    }
  }
}

// Philox blocks that elements offset <= j < offset + n take, n > 0.
inline int64_t stream_blocks(int64_t offset, int64_t n) {
  return ((offset + (n - 1)) / kGroup - offset / kGroup + 1) * kBlocks;
}

}  // namespace musegan

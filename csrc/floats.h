// Logits of any dtype as floats and back, one at a time; for C++ and CUDA alike. 16-bit floats are known by their bits.
#pragma once

#include "sampling.h"

namespace musegan {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// float16 of one value, by its bits; exact.
MUSEGAN_INLINE float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7FFFu;
  uint32_t bits = (magnitude << 13) + (112u << 23);
  if (magnitude >= 0x7C00u) bits |= 0x7F800000u;  // infinity or NaN
  // A subnormal counts steps of 2^-24, the last place of 0.5: no float32 subnormal comes up, which torch may flush.
  if (magnitude < 0x0400u) bits = bits_of(add(float_of(0x3F000000u | magnitude), -0.5f));
  return float_of(sign | bits);
}

// Exact, but for float64, which is rounded.
MUSEGAN_INLINE float to_float(float x) { return x; }
MUSEGAN_INLINE float to_float(double x) { return static_cast<float>(x); }
MUSEGAN_INLINE float to_float(Half x) { return half_to_float(x.bits); }
MUSEGAN_INLINE float to_float(BFloat16 x) { return float_of(static_cast<uint32_t>(x.bits) << 16); }

// Rounded half to even, from float32 and where that is no 16-bit float at all.
MUSEGAN_INLINE void from_float(float x, float& out) { out = x; }
MUSEGAN_INLINE void from_float(float x, double& out) { out = x; }
MUSEGAN_INLINE void from_float(float x, Half& out) {
  const uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000u;
  uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) {
    magnitude = 0x7E00u;  // NaN
  } else if (magnitude >= 0x477FF000u) {
    magnitude = 0x7C00u;  // from 65520 on, infinity
  } else if (magnitude < 0x38800000u) {
    magnitude = bits_of(add(float_of(magnitude), 0.5f)) - bits_of(0.5f);  // subnormal: the last place of 0.5 is its own
  } else {
    magnitude = (magnitude + 0xFFFu + (magnitude >> 13 & 1u) - (112u << 23)) >> 13;
  }
  out.bits = static_cast<uint16_t>(sign | magnitude);
}
MUSEGAN_INLINE void from_float(float x, BFloat16& out) {
  const uint32_t bits = bits_of(x);
  const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  out.bits = static_cast<uint16_t>(is_nan ? 0x7FC0u : (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace musegan

// The arithmetic that defines a Bernoulli sample, once, for every C++ and CUDA kernel.
//
// Stream of `seed` (two's complement bits: low half, high half = Philox key), element j >= 0:
//   group g = j / 256, e = j % 256; Philox block b = 32 g + e % 32 (64 bits); half-word h = e / 32;
//   counter = (low32(b), high32(b), c2, 0): c2 = 0 gives the top 16 bits of v, c2 = 1 the low 16,
//   both from output word h / 2, its low half where h is even, its high half where h is odd;
//   d = denominator(x), v = top << 16 | low, sample = (double)(v + 1) * (double)d <= 2^32.
// Every float step is one IEEE rounding (build with -ffp-contract=off). Philox4x32-10: Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define MUSEGAN_HOST_DEVICE __host__ __device__
#else
#define MUSEGAN_HOST_DEVICE
#endif
#if defined(__GNUC__)
#define MUSEGAN_INLINE MUSEGAN_HOST_DEVICE static inline __attribute__((always_inline))
#define MUSEGAN_NOINLINE __attribute__((noinline))
#else
#define MUSEGAN_INLINE MUSEGAN_HOST_DEVICE static inline
#define MUSEGAN_NOINLINE
#endif

namespace musegan {

constexpr int kBlocks = 32;                // Philox blocks in a group
constexpr int kHalves = 8;                 // 16-bit half-words in a block
constexpr int kGroup = kBlocks * kHalves;  // elements in a group
constexpr uint32_t kTop = 0;               // third counter word: top 16 bits of v
constexpr uint32_t kLow = 1;               // third counter word: low 16 bits of v

// One float32 rounding each, which CUDA must not fuse.
MUSEGAN_INLINE float mul(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
MUSEGAN_INLINE float add(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}
MUSEGAN_INLINE float divide(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

MUSEGAN_INLINE uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}
MUSEGAN_INLINE float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// exp2(t) for -126 <= t <= 126: 2^n times a polynomial in f, where n + f = t.
MUSEGAN_INLINE float exp2_of(float t) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds half to even, n in low bits
  const float shifted = add(t, kRound);
  const float f = add(t, -add(shifted, -kRound));
  float p = 0.001326472731307149f;
  p = add(mul(p, f), 0.009671512991189957f);
  p = add(mul(p, f), 0.05550733581185341f);
  p = add(mul(p, f), 0.24022242426872253f);
  p = add(mul(p, f), 0.6931470036506653f);
  p = add(mul(p, f), 1.0f);
  const uint32_t n = bits_of(shifted) - bits_of(kRound);
  return float_of(bits_of(p) + (n << 23));
}

constexpr float kMinusLog2E = -1.4426950216293335f;

// d = 1 + exp(-x) with a relative error of about 1.1e-6.
MUSEGAN_INLINE float denominator(float x) {
  float t = mul(x, kMinusLog2E);
  t = t < -126.0f ? -126.0f : t;
  t = t > 126.0f ? 126.0f : t;
  const float d = add(1.0f, exp2_of(t));
  return x == x ? d : x;  // NaN stays NaN: its payload could have become an n
}

// Gradient of sigmoid(slope * x) at x, times grad: e / (1 + e)^2 with e = exp(-|slope * x|), which cannot overflow.
MUSEGAN_INLINE float neuron_gradient(float grad, float x, float slope) {
  const float y = mul(x, slope);
  const float t = mul(float_of(bits_of(y) & 0x7FFFFFFFu), kMinusLog2E);
  const float e = exp2_of(t < -126.0f ? -126.0f : t);
  const float q = add(1.0f, e);
  const float r = divide(e, mul(q, q));
  return y == y ? mul(grad, mul(slope, r)) : y;
}

// NaN gives false.
MUSEGAN_INLINE bool sample(uint32_t v, float d) {
  return (static_cast<double>(v) + 1.0) * static_cast<double>(d) <= 4294967296.0;
}

// What the top 16 bits alone decide. Exact: rounding is monotone and 2^16 is a float, so a rounded
// product below (above) 2^16 has an exact product below (above) it. NaN is decided, as false.
MUSEGAN_INLINE bool surely_one(float top, float d) {
  return mul(top + 1.0f, d) < 65536.0f;
}
MUSEGAN_INLINE bool undecided(float top, float d) {
  return (mul(top, d) <= 65536.0f) & (mul(top + 1.0f, d) >= 65536.0f);
}

struct Key {
  uint32_t k0, k1;
  MUSEGAN_HOST_DEVICE static Key of_seed(int64_t seed) {
    const uint64_t bits = static_cast<uint64_t>(seed);
    return {static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32)};
  }
};

constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;  // added to the key after each round

// One of the ten rounds; `round` counts from 0.
MUSEGAN_INLINE void philox_round(uint32_t& c0, uint32_t& c1, uint32_t& c2, uint32_t& c3,
                                             Key key, uint32_t round) {
  const uint64_t p0 = static_cast<uint64_t>(c0) * 0xD2511F53u;
  const uint64_t p1 = static_cast<uint64_t>(c2) * 0xCD9E8D57u;
  c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ (key.k0 + round * kWeyl0);
  c1 = static_cast<uint32_t>(p1);
  c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ (key.k1 + round * kWeyl1);
  c3 = static_cast<uint32_t>(p0);
}

// Philox4x32-10 of one counter, in place.
MUSEGAN_INLINE void philox(uint32_t (&c)[4], Key key) {
  for (uint32_t round = 0; round < 10; ++round) philox_round(c[0], c[1], c[2], c[3], key, round);
}

// The 16 bits that half-word h of a block is, from its word h / 2.
MUSEGAN_INLINE uint32_t half_word(uint32_t word, int h) {
  return (word >> (16 * (h % 2))) & 0xFFFFu;
}

// The low 16 bits of v for element e of a group: drawn only where the top 16 do not decide.
MUSEGAN_INLINE uint32_t low_bits(uint64_t group, int e, Key key) {
  const uint64_t block = group * kBlocks + e % kBlocks;
  uint32_t c[4] = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), kLow, 0};
  philox(c, key);
  const int h = e / kBlocks;
  return half_word(c[h / 2], h);
}

}  // namespace musegan

// threshold and bernoulli: elements begin <= i < end of some logits to booleans.
#include "floats.h"

// ---- threshold: out[i] = x[i] > at ----

template <typename T>
static void threshold_as(const T* x, const T* each, T at, int64_t period, int64_t begin, int64_t end, bool* out) {
  if (each == nullptr) {
    for (int64_t i = 0; i < end - begin; ++i) out[i] = x[i] > at;
    return;
  }
  for (int64_t i = begin; i < end;) {
    const int64_t place = i % period;
    const int64_t n = period - place < end - i ? period - place : end - i;
    for (int64_t j = 0; j < n; ++j) out[j] = x[j] > each[place + j];
    x += n, out += n, i += n;
  }
}

static void threshold(const Logits& x, double at, int64_t begin, int64_t end, bool* out) {
  if (x.dtype == Dtype::kDouble) {
    return threshold_as(static_cast<const double*>(x.data) + begin, static_cast<const double*>(x.each), at, x.period,
                        begin, end, out);
  }
  constexpr int64_t kChunk = 1024;
  float buffer[kChunk];
  for (int64_t i = begin; i < end; i += kChunk) {
    const int64_t n = kChunk < end - i ? kChunk : end - i;
    const float* values = as_floats(x.data, x.dtype, i, n, buffer);
    threshold_as(values, static_cast<const float*>(x.each), static_cast<float>(at), x.period, i, i + n,
                 out + (i - begin));
  }
}

// ---- bernoulli: see sampling.h ----
//
// Filter and refine. The filter decides by the top 16 bits r of a random number and an approximate denominator d':
// (r + 1) d' < 2^16 (1 - margin) is surely 1 and r d' > 2^16 (1 + margin) surely 0, wherever d' is within the margin
// of the defined one. What is left, one element in some thousands, is refined by the definition.

struct RoundKeys {
  Key key;
  uint64_t k0[10], k1[10];
};

static inline RoundKeys round_keys(int64_t seed) {
  RoundKeys keys{Key::of_seed(seed), {}, {}};
  for (uint32_t round = 0; round < 10; ++round) {
    keys.k0[round] = keys.key.k0 + round * kWeyl0;
    keys.k1[round] = keys.key.k1 + round * kWeyl1;
  }
  return keys;
}

// Element e of a group by the definition; `top` is the top half of its random number.
static inline bool refine(float x, uint32_t top, uint64_t group, int e, Key key) {
  return sample(top << 16 | low_bits(group, e, key), denominator(x));
}

#if defined(MUSEGAN_AVX512)

constexpr double kFilterMargin = 1e-4;

// 1 + exp(-x), roughly: 2^f on [0, 1) by a cubic. x = -infinity and NaN give a huge number, x = infinity gives 1.
static inline __m512 filter_denominator(__m512 x) {
  const __m512 t = _mm512_min_ps(_mm512_mul_ps(x, _mm512_set1_ps(kMinusLog2E)), _mm512_set1_ps(126.0f));
  const __m512 f = _mm512_reduce_ps(t, 1);  // t - floor(t)
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.07802300900220871f), f, _mm512_set1_ps(0.2260693907737732f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6958328485488892f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.9999252557754517f));
  return _mm512_add_ps(_mm512_scalef_ps(p, t), _mm512_set1_ps(1.0f));
}
constexpr int kLanes = 16;
static inline void filter_denominators(const float* x, float* d) {
  _mm512_storeu_ps(d, filter_denominator(_mm512_loadu_ps(x)));
}

// Random words of a group: words[k][i] holds word k of blocks 16 i .. 16 i + 15.
static inline void top_words(uint64_t group, const RoundKeys& keys, __m512i (&words)[4][2]) {
  const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
  // One block in each 64-bit lane; vectors 0 and 1 hold the even and odd blocks below 16, 2 and 3 the others, so that
  // a shift and a blend give 32-bit lanes in order. Junk above the low 32 bits never comes down.
  const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  __m512i c0[4], c1[4], c2[4], c3[4];
  const uint64_t first = group * kBlocks;  // a multiple of 32: its low word never carries below
  const uint64_t low = static_cast<uint32_t>(first), high = first >> 32;
  // Round 0 with counter (block, high, kTop = 0, 0): the second product is 0. Round 1: the first is that of one number.
  const uint64_t uniform = high ^ keys.k0[0];
  const uint64_t product = (uniform & 0xFFFFFFFFu) * 0xD2511F53u;
  for (int v = 0; v < 4; ++v) {
    const __m512i block = _mm512_add_epi64(_mm512_set1_epi64(low + (v & 1) + 16 * (v >> 1)), even);
    const __m512i p0 = _mm512_mul_epu32(block, m0);
    const __m512i two = _mm512_xor_si512(_mm512_srli_epi64(p0, 32), _mm512_set1_epi64(keys.k1[0]));
    const __m512i p1 = _mm512_mul_epu32(two, m1);
    c0[v] = _mm512_xor_si512(_mm512_srli_epi64(p1, 32), _mm512_set1_epi64(keys.k0[1]));
    c1[v] = p1;
    c2[v] = _mm512_xor_si512(p0, _mm512_set1_epi64((product >> 32) ^ keys.k1[1]));
    c3[v] = _mm512_set1_epi64(product);
  }
  for (int round = 2; round < 10; ++round) {
    const __m512i k0 = _mm512_set1_epi64(keys.k0[round]), k1 = _mm512_set1_epi64(keys.k1[round]);
    for (int v = 0; v < 4; ++v) {
      const __m512i p0 = _mm512_mul_epu32(c0[v], m0), p1 = _mm512_mul_epu32(c2[v], m1);
      c0[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c1[v], k0, 0x96);  // xor of three
      c2[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c3[v], k1, 0x96);
      c1[v] = p1;
      c3[v] = p0;
    }
  }
  for (int i = 0; i < 2; ++i) {
    const __m512i* const c[4] = {c0, c1, c2, c3};
    for (int k = 0; k < 4; ++k) {  // even lanes of one vector, even lanes of the other moved up
      words[k][i] = _mm512_mask_shuffle_epi32(c[k][2 * i], 0xAAAA, c[k][2 * i + 1], _MM_PERM_CCAA);
    }
  }
}

static inline void sample_group(const float* x, bool* out, uint64_t group, const RoundKeys& keys) {
  __m512i words[4][2];
  top_words(group, keys, words);
  const __m512 one = _mm512_set1_ps(static_cast<float>(65536 * (1 - kFilterMargin)));
  const __m512 zero = _mm512_set1_ps(static_cast<float>(65536 * (1 + kFilterMargin)));
  uint64_t undecided[4];
  for (int k = 0; k < 4; ++k) {
    uint64_t ones = 0, zeros = 0;
    for (int j = 0; j < 4; ++j) {  // elements 64 k + 16 j and the 15 after it
      const __m512i word = words[k][j & 1];
      const __m512i bits = j < 2 ? _mm512_and_si512(word, _mm512_set1_epi32(0xFFFF)) : _mm512_srli_epi32(word, 16);
      const __m512 top = _mm512_cvtepi32_ps(bits);
      const __m512 d = filter_denominator(_mm512_loadu_ps(x + 64 * k + 16 * j));
      ones |= static_cast<uint64_t>(_mm512_cmp_ps_mask(_mm512_fmadd_ps(top, d, d), one, _CMP_LT_OQ)) << (16 * j);
      zeros |= static_cast<uint64_t>(_mm512_cmp_ps_mask(_mm512_mul_ps(top, d), zero, _CMP_GT_OQ)) << (16 * j);
    }
    _mm512_storeu_si512(out + 64 * k, _mm512_maskz_set1_epi8(ones, 1));
    undecided[k] = ~(ones | zeros);
  }
  if ((undecided[0] | undecided[1] | undecided[2] | undecided[3]) == 0) return;
  uint32_t stored[4][kBlocks];
  memcpy(stored, words, sizeof(stored));
  for (int k = 0; k < 4; ++k) {
    for (uint64_t left = undecided[k]; left != 0; left &= left - 1) {
      const int e = 64 * k + __builtin_ctzll(left);
      out[e] = refine(x[e], half_word(stored[k][e % kBlocks], e / kBlocks), group, e, keys.key);
    }
  }
}

#elif defined(MUSEGAN_AVX2)

constexpr double kFilterMargin = 1e-4;

// 1 + exp(-x), roughly: 2^f on [-0.5, 0.5] by a cubic. NaN gives a huge number.
static inline __m256 filter_denominator(__m256 x) {
  const __m256 round = _mm256_set1_ps(12582912.0f);
  __m256 t = _mm256_min_ps(_mm256_mul_ps(x, _mm256_set1_ps(kMinusLog2E)), _mm256_set1_ps(126.0f));
  t = _mm256_max_ps(t, _mm256_set1_ps(-126.0f));
  const __m256 shifted = _mm256_add_ps(t, round);
  const __m256 f = _mm256_sub_ps(t, _mm256_sub_ps(shifted, round));
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(0.0551716685295105f), f, _mm256_set1_ps(0.2426111251115799f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.6932609677314758f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.9999280571937561f));
  const __m256i scaled =
      _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23));
  return _mm256_add_ps(_mm256_castsi256_ps(scaled), _mm256_set1_ps(1.0f));
}
constexpr int kLanes = 8;
static inline void filter_denominators(const float* x, float* d) {
  _mm256_storeu_ps(d, filter_denominator(_mm256_loadu_ps(x)));
}

// Random words of a group: words[k][i] holds word k of blocks 8 i .. 8 i + 7.
static inline void top_words(uint64_t group, const RoundKeys& keys, __m256i (&words)[4][4]) {
  const __m256i m0 = _mm256_set1_epi64x(0xD2511F53), m1 = _mm256_set1_epi64x(0xCD9E8D57);
  const __m256i even = _mm256_setr_epi64x(0, 2, 4, 6);  // as in the AVX-512 kernel, four blocks to a vector
  const uint64_t first = group * kBlocks;
  const uint64_t low = static_cast<uint32_t>(first), high = first >> 32;
  const uint64_t uniform = high ^ keys.k0[0];
  const uint64_t product = (uniform & 0xFFFFFFFFu) * 0xD2511F53u;
  for (int i = 0; i < 4; ++i) {
    __m256i c0[2], c1[2], c2[2], c3[2];
    for (int v = 0; v < 2; ++v) {
      const __m256i block = _mm256_add_epi64(_mm256_set1_epi64x(low + v + 8 * i), even);
      const __m256i p0 = _mm256_mul_epu32(block, m0);
      const __m256i two = _mm256_xor_si256(_mm256_srli_epi64(p0, 32), _mm256_set1_epi64x(keys.k1[0]));
      const __m256i p1 = _mm256_mul_epu32(two, m1);
      c0[v] = _mm256_xor_si256(_mm256_srli_epi64(p1, 32), _mm256_set1_epi64x(keys.k0[1]));
      c1[v] = p1;
      c2[v] = _mm256_xor_si256(p0, _mm256_set1_epi64x((product >> 32) ^ keys.k1[1]));
      c3[v] = _mm256_set1_epi64x(product);
    }
    for (int round = 2; round < 10; ++round) {
      const __m256i k0 = _mm256_set1_epi64x(keys.k0[round]), k1 = _mm256_set1_epi64x(keys.k1[round]);
      for (int v = 0; v < 2; ++v) {
        const __m256i p0 = _mm256_mul_epu32(c0[v], m0), p1 = _mm256_mul_epu32(c2[v], m1);
        c0[v] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1[v]), k0);
        c2[v] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3[v]), k1);
        c1[v] = p1;
        c3[v] = p0;
      }
    }
    const __m256i* const c[4] = {c0, c1, c2, c3};
    for (int k = 0; k < 4; ++k) {
      words[k][i] = _mm256_blend_epi32(c[k][0], _mm256_slli_epi64(c[k][1], 32), 0xAA);
    }
  }
}

static inline void sample_group(const float* x, bool* out, uint64_t group, const RoundKeys& keys) {
  __m256i words[4][4];
  top_words(group, keys, words);
  const __m256 one = _mm256_set1_ps(static_cast<float>(65536 * (1 - kFilterMargin)));
  const __m256 zero = _mm256_set1_ps(static_cast<float>(65536 * (1 + kFilterMargin)));
  __m256 all_decided = _mm256_castsi256_ps(_mm256_set1_epi32(-1)), decided[kHalves][4];
  for (int h = 0; h < kHalves; ++h) {
    __m256i ones[4];
    for (int j = 0; j < 4; ++j) {  // elements 32 h + 8 j and the 7 after it
      const __m256i word = words[h / 2][j];
      const __m256i bits =
          h % 2 == 0 ? _mm256_and_si256(word, _mm256_set1_epi32(0xFFFF)) : _mm256_srli_epi32(word, 16);
      const __m256 top = _mm256_cvtepi32_ps(bits);
      const __m256 d = filter_denominator(_mm256_loadu_ps(x + 32 * h + 8 * j));
      const __m256 is_one = _mm256_cmp_ps(_mm256_fmadd_ps(top, d, d), one, _CMP_LT_OQ);
      const __m256 is_zero = _mm256_cmp_ps(_mm256_mul_ps(top, d), zero, _CMP_GT_OQ);
      decided[h][j] = _mm256_or_ps(is_one, is_zero);
      all_decided = _mm256_and_ps(all_decided, decided[h][j]);
      ones[j] = _mm256_castps_si256(is_one);
    }
    // 32 lanes of 0 or -1 to 32 bytes of 0 or 1; the packs work within halves, the permutation puts them in order.
    const __m256i packed =
        _mm256_packs_epi16(_mm256_packs_epi32(ones[0], ones[1]), _mm256_packs_epi32(ones[2], ones[3]));
    const __m256i ordered = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32 * h), _mm256_and_si256(ordered, _mm256_set1_epi8(1)));
  }
  if (_mm256_movemask_ps(all_decided) == 0xFF) return;
  uint32_t stored[4][kBlocks];
  memcpy(stored, words, sizeof(stored));
  for (int v = 0; v < kGroup / 8; ++v) {
    for (uint32_t left = ~_mm256_movemask_ps(decided[v / 4][v % 4]) & 0xFF; left != 0; left &= left - 1) {
      const int e = 8 * v + __builtin_ctz(left);
      out[e] = refine(x[e], half_word(stored[e / kBlocks / 2][e % kBlocks], e / kBlocks), group, e, keys.key);
    }
  }
}

#else  // generic: the filter's denominator is the defined one, rounded products are decisive (see surely_one)

constexpr double kFilterMargin = 0;
constexpr int kLanes = 1;
static inline void filter_denominators(const float* x, float* d) { *d = denominator(*x); }

// words[k][i] = word k of the top-bits block i of a group.
static inline void top_words(uint64_t group, Key key, uint32_t (&words)[4][kBlocks]) {
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

static inline void sample_group(const float* x, bool* out, uint64_t group, const RoundKeys& keys) {
  uint32_t words[4][kBlocks];
  top_words(group, keys.key, words);
  float d[kGroup], top[kGroup];
  for (int e = 0; e < kGroup; ++e) d[e] = denominator(x[e]);
  for (int h = 0; h < kHalves; ++h) {
    for (int i = 0; i < kBlocks; ++i) {
      top[h * kBlocks + i] = static_cast<float>(static_cast<int32_t>(half_word(words[h / 2][i], h)));
    }
  }
  int any_undecided = 0;
  for (int e = 0; e < kGroup; ++e) {
    out[e] = surely_one(top[e], d[e]);
    any_undecided |= undecided(top[e], d[e]);
  }
  if (!any_undecided) return;
  for (int e = 0; e < kGroup; ++e) {
    if (undecided(top[e], d[e])) out[e] = refine(x[e], static_cast<uint32_t>(top[e]), group, e, keys.key);
  }
}

#endif

// Not inlined into stochastic_neuron: g++ 12 then makes the loop six times as slow.
MUSEGAN_NOINLINE static void bernoulli(const Logits& x, int64_t seed, int64_t offset, int64_t begin, int64_t end,
                                       bool* out) {
  const RoundKeys keys = round_keys(seed);
  const float* each = static_cast<const float*>(x.each);
  float buffer[kGroup], whole[kGroup];
  bool whole_out[kGroup];
  for (int64_t i = begin; i < end;) {
    const uint64_t j = static_cast<uint64_t>(offset) + static_cast<uint64_t>(i);
    const int first = static_cast<int>(j % kGroup);
    const int n = kGroup - first < end - i ? kGroup - first : static_cast<int>(end - i);
    const float* values = as_floats(x.data, x.dtype, i, n, buffer);
    if (each != nullptr) {
      for (int e = 0; e < n;) {
        const int64_t place = (i + e) % x.period;
        const int m = x.period - place < n - e ? static_cast<int>(x.period - place) : n - e;
        for (int l = 0; l < m; ++l) buffer[e + l] = values[e + l] - each[place + l];
        e += m;
      }
      values = buffer;
    }
    if (n == kGroup) {
      sample_group(values, out, j / kGroup, keys);
    } else {  // the part of a group at either end
      memset(whole, 0, sizeof(whole));
      memcpy(whole + first, values, n * sizeof(float));
      sample_group(whole, whole_out, j / kGroup, keys);
      memcpy(out, whole_out + first, n);
    }
    i += n, out += n;
  }
}

// ---- views for tests ----

static void denominators(const float* x, float* d, int64_t n) {
  for (int64_t i = 0; i < n; ++i) d[i] = denominator(x[i]);
}

static double filter_error(uint64_t first, uint64_t last) {
  float x[16], d[16];
  double worst = 0;
  for (uint64_t bits = first; bits < last; bits += kLanes) {
    for (int i = 0; i < kLanes; ++i) x[i] = float_of(static_cast<uint32_t>(bits + i < last ? bits + i : last - 1));
    filter_denominators(x, d);
    for (int i = 0; i < kLanes; ++i) {
      if (x[i] != x[i]) continue;  // NaN has no denominator: it must only be large, so that no sample is 1
      const double exact = denominator(x[i]);
      const double error = exact > d[i] ? exact - d[i] : d[i] - exact;
      worst = error / exact > worst ? error / exact : worst;
    }
  }
  return worst;
}

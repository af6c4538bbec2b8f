// Up to 128 cells of one time step as bits: bit p is pitch p.
#pragma once

struct Row {
  uint64_t low, high;  // pitches 0 to 63 and 64 to 127
};

static inline Row operator&(Row a, Row b) { return {a.low & b.low, a.high & b.high}; }
static inline Row operator|(Row a, Row b) { return {a.low | b.low, a.high | b.high}; }
static inline Row operator~(Row a) { return {~a.low, ~a.high}; }
static inline bool any(Row a) { return (a.low | a.high) != 0; }
static inline int count(Row a) { return __builtin_popcountll(a.low) + __builtin_popcountll(a.high); }

// Pitches 0 to n - 1, n <= 128.
static inline Row first_pitches(int n) {
  const auto word = [](int m) { return m <= 0 ? 0 : m >= 64 ? ~uint64_t{0} : (uint64_t{1} << m) - 1; };
  return {word(n), word(n - 64)};
}

// The row moved up by some pitches, down where negative; what leaves 0 to 127 is cut.
static inline Row moved(Row a, int64_t pitches) {
  if (pitches <= -128 || pitches >= 128) return {0, 0};
  unsigned __int128 bits = static_cast<unsigned __int128>(a.high) << 64 | a.low;
  bits = pitches >= 0 ? bits << pitches : bits >> -pitches;
  return {static_cast<uint64_t>(bits), static_cast<uint64_t>(bits >> 64)};
}

// Turns the bits of each byte round: the packed form has the first pitch in the highest bit.
static inline uint64_t reversed_in_bytes(uint64_t a) {
  a = (a >> 1 & 0x5555555555555555u) | (a & 0x5555555555555555u) << 1;
  a = (a >> 2 & 0x3333333333333333u) | (a & 0x3333333333333333u) << 2;
  return (a >> 4 & 0x0F0F0F0F0F0F0F0Fu) | (a & 0x0F0F0F0F0F0F0F0Fu) << 4;
}

// ---- up to 8 bytes; parts that overlap, since a memcpy of unknown size is a call ----

static inline uint64_t load_bytes(const uint8_t* in, int n) {
  uint64_t word = 0;
  if (n >= 8) {
    memcpy(&word, in, 8);
  } else if (n >= 4) {
    uint32_t first, last;
    memcpy(&first, in, 4);
    memcpy(&last, in + n - 4, 4);
    word = first | static_cast<uint64_t>(last) << (8 * (n - 4));
  } else {
    for (int i = 0; i < n; ++i) word |= static_cast<uint64_t>(in[i]) << (8 * i);
  }
  return word;
}

static inline void store_bytes(uint64_t word, int n, uint8_t* out) {
  if (n >= 8) {
    memcpy(out, &word, 8);
  } else if (n >= 4) {
    const uint32_t first = static_cast<uint32_t>(word), last = static_cast<uint32_t>(word >> (8 * (n - 4)));
    memcpy(out, &first, 4);
    memcpy(out + n - 4, &last, 4);
  } else {
    for (int i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(word >> (8 * i));
  }
}

// ---- words of up to 64 cells, one byte each; any byte but 0 is True ----

static inline uint64_t word_of_bytes(const uint8_t* in, int n) {
#if defined(MUSEGAN_AVX512)
  const __mmask64 mask = n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  const __m512i cells = _mm512_maskz_loadu_epi8(mask, in);
  return _mm512_test_epi8_mask(cells, cells);
#else
  uint64_t word = 0;
  int i = 0;
#if defined(MUSEGAN_AVX2)
  for (; i + 32 <= n; i += 32) {
    const __m256i cells = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i));
    const __m256i zero = _mm256_cmpeq_epi8(cells, _mm256_setzero_si256());
    word |= static_cast<uint64_t>(~static_cast<uint32_t>(_mm256_movemask_epi8(zero))) << i;
  }
  if (i + 16 <= n) {
    const __m128i cells = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
    const __m128i zero = _mm_cmpeq_epi8(cells, _mm_setzero_si128());
    word |= static_cast<uint64_t>(~_mm_movemask_epi8(zero) & 0xFFFF) << i;
    i += 16;
  }
#endif
  for (; i < n; i += 8) {
    uint64_t cells = load_bytes(in + i, n - i);
    cells = (((cells & 0x7F7F7F7F7F7F7F7Fu) + 0x7F7F7F7F7F7F7F7Fu) | cells) >> 7 & 0x0101010101010101u;
    word |= (cells * 0x0102040810204080u) >> 56 << i;
  }
  return word;
#endif
}

static inline void bytes_of_word(uint64_t word, int n, uint8_t* out) {
#if defined(MUSEGAN_AVX512)
  const __m512i cells = _mm512_maskz_set1_epi8(word, 1);
  if (n >= 64) {
    _mm512_storeu_si512(out, cells);
  } else {
    _mm512_mask_storeu_epi8(out, (uint64_t{1} << n) - 1, cells);
  }
#else
  int i = 0;
#if defined(MUSEGAN_AVX2)
  const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                          2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  for (; i + 32 <= n; i += 32) {
    const __m256i four = _mm256_set1_epi32(static_cast<int>(word >> i));
    const __m256i found = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(four, spread), bit), bit);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_and_si256(found, _mm256_set1_epi8(1)));
  }
  if (i + 16 <= n) {
    const __m128i two = _mm_shuffle_epi8(_mm_set1_epi32(static_cast<int>(word >> i)), _mm256_castsi256_si128(spread));
    const __m128i one = _mm256_castsi256_si128(bit);
    const __m128i found = _mm_cmpeq_epi8(_mm_and_si128(two, one), one);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm_and_si128(found, _mm_set1_epi8(1)));
    i += 16;
  }
#endif
  for (; i < n; i += 8) {
    uint64_t cells = ((word >> i & 0xFF) * 0x0101010101010101u) & 0x8040201008040201u;
    cells = (cells + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
    store_bytes(cells, n - i, out + i);
  }
#endif
}

static inline void floats_of_word(uint64_t word, int n, float* out) {
#if defined(MUSEGAN_AVX512)
  const __m512 one = _mm512_set1_ps(1.0f);
  int i = 0;
  for (; i + 16 <= n; i += 16) {
    _mm512_storeu_ps(out + i, _mm512_maskz_mov_ps(static_cast<__mmask16>(word >> i), one));
  }
  if (i < n) {
    const __mmask16 mask = static_cast<__mmask16>((1u << (n - i)) - 1);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_maskz_mov_ps(static_cast<__mmask16>(word >> i), one));
  }
#else
  int i = 0;
#if defined(MUSEGAN_AVX2)
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  for (; i + 8 <= n; i += 8) {
    const __m256i found =
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(word >> i & 0xFF)), bit), bit);
    _mm256_storeu_ps(out + i, _mm256_and_ps(_mm256_castsi256_ps(found), _mm256_set1_ps(1.0f)));
  }
#endif
  uint8_t cells[64];
  bytes_of_word(i < n ? word >> i : 0, n - i, cells);
  for (int j = 0; j < n - i; ++j) out[i + j] = static_cast<float>(cells[j]);
#endif
}

// ---- rows of n <= 128 cells ----

static inline Row row_of_bytes(const uint8_t* in, int n) {
  if (n <= 64) return {word_of_bytes(in, n), 0};
  return {word_of_bytes(in, 64), word_of_bytes(in + 64, n - 64)};
}

static inline void bytes_of_row(Row row, int n, uint8_t* out) {
  bytes_of_word(row.low, n < 64 ? n : 64, out);
  if (n > 64) bytes_of_word(row.high, n - 64, out + 64);
}

static inline void floats_of_row(Row row, int n, float* out) {
  floats_of_word(row.low, n < 64 ? n : 64, out);
  if (n > 64) floats_of_word(row.high, n - 64, out + 64);
}

// ceil(n / 8) packed bytes; what they hold past pitch n - 1 is ignored.
static inline Row row_of_packed(const uint8_t* in, int n) {
  const int n_bytes = (n + 7) / 8;
  const Row turned = {load_bytes(in, n_bytes), n_bytes > 8 ? load_bytes(in + 8, n_bytes - 8) : 0};
  return Row{reversed_in_bytes(turned.low), reversed_in_bytes(turned.high)} & first_pitches(n);
}

static inline void packed_of_row(Row row, int n, uint8_t* out) {
  const int n_bytes = (n + 7) / 8;
  store_bytes(reversed_in_bytes(row.low), n_bytes, out);
  if (n_bytes > 8) store_bytes(reversed_in_bytes(row.high), n_bytes - 8, out + 8);
}

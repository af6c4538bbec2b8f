// pack and unpack: cells to bits and back; gather: phrases of a packed data set, transposed.
#include "rows.h"

// Packed bytes of up to 64 cells of which 64 may be read; what lies past the n is not taken.
static inline uint64_t packed_word(const uint8_t* in, int n) {
#if defined(MUSEGAN_AVX512)
  const __m512i turn = _mm512_broadcast_i32x4(_mm_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8));
  const __m512i cells = _mm512_maskz_loadu_epi8(~uint64_t{0} >> (64 - n), in);
  const __m512i turned = _mm512_shuffle_epi8(cells, turn);  // within each byte to be
  return _mm512_test_epi8_mask(turned, turned);
#else
  return reversed_in_bytes(word_of_bytes(in, 64) & (~uint64_t{0} >> (64 - n)));
#endif
}

static void pack(const uint8_t* in, int64_t n_rows, int64_t n, uint8_t* out) {
  if (n % 8 == 0) n *= n_rows, n_rows = 1;  // no padding between rows
  const int64_t n_bytes = (n + 7) / 8;
  int64_t row = 0;
  if (n > 0 && n <= 128) {
    // Whole words: what they read and write past a row belongs to the next, which comes later. So many rows short
    // of the end there is room for that.
    const int64_t spare = 128 / n + 16 / n_bytes + 2;
    for (; row < n_rows - spare; ++row, in += n, out += n_bytes) {
      const uint64_t low = packed_word(in, n < 64 ? static_cast<int>(n) : 64);
      memcpy(out, &low, 8);
      if (n > 64) {
        const uint64_t high = packed_word(in + 64, static_cast<int>(n - 64));
        memcpy(out + 8, &high, 8);
      }
    }
  }
  for (; row < n_rows; ++row, in += n, out += n_bytes) {
    for (int64_t i = 0; i < n; i += 64) {
      const int m = n - i < 64 ? static_cast<int>(n - i) : 64;
      store_bytes(reversed_in_bytes(word_of_bytes(in + i, m)), (m + 7) / 8, out + i / 8);
    }
  }
}

static void unpack(const uint8_t* in, int64_t n_rows, int64_t n, bool as_float, void* out) {
  if (n % 8 == 0) n *= n_rows, n_rows = 1;
  for (int64_t row = 0; row < n_rows; ++row) {
    for (int64_t i = 0; i < n; i += 64) {
      const int m = n - i < 64 ? static_cast<int>(n - i) : 64;
      const uint64_t word = reversed_in_bytes(load_bytes(in + i / 8, (m + 7) / 8));
      if (as_float) {
        floats_of_word(word, m, static_cast<float*>(out) + row * n + i);
      } else {
        bytes_of_word(word, m, static_cast<uint8_t*>(out) + row * n + i);
      }
    }
    in += (n + 7) / 8;
  }
}

// One bar of one track: n_steps rows of ceil(n / 8) bytes, moved up by some pitches, to cells [n_steps, n], n <= 128.
static void unpack_moved(const uint8_t* in, int64_t n_steps, int n, int64_t pitches, bool as_float, void* out) {
  const Row inside = first_pitches(n);
  for (int64_t step = 0; step < n_steps; ++step) {
    const Row row = moved(row_of_packed(in, n), pitches) & inside;
    if (as_float) {
      floats_of_row(row, n, static_cast<float*>(out) + step * n);
    } else {
      bytes_of_row(row, n, static_cast<uint8_t*>(out) + step * n);
    }
    in += (n + 7) / 8;
  }
}

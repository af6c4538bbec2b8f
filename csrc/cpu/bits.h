// pack and unpack: cells to bits and back; gather: phrases of a packed data set, transposed.
#include "rows.h"

static void pack(const uint8_t* in, int64_t n_rows, int64_t n, uint8_t* out) {
  if (n % 8 == 0) n *= n_rows, n_rows = 1;  // no padding between rows
  for (int64_t row = 0; row < n_rows; ++row) {
    for (int64_t i = 0; i < n; i += 64) {
      const int m = n - i < 64 ? static_cast<int>(n - i) : 64;
      const uint64_t word = reversed_in_bytes(word_of_bytes(in + i, m));
      store_bytes(word, (m + 7) / 8, out + i / 8);
    }
    in += n, out += (n + 7) / 8;
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

// Rolls of computed cells, as bool or as bits; cell(i) is the truth of cell i.
#pragma once

#include "index.cuh"

namespace musegan {

// Thread -> cell i.
template <typename Cell>
__global__ void write_cells(Cell cell, int64_t n, bool* out) {
  for (int64_t i = first_index(); i < n; i += index_stride()) out[i] = cell(i);
}

// Thread -> byte i of the bits: row i / n_bytes, pitches 8 (i % n_bytes) and the 7 after it, as far as there are.
template <typename Cell>
__global__ void write_packed_cells(Cell cell, int64_t n_rows, int64_t n_pitches, uint8_t* out) {
  const int64_t n_bytes = (n_pitches + 7) / 8;
  for (int64_t i = first_index(); i < n_rows * n_bytes; i += index_stride()) {
    const int64_t row = quotient(i, n_bytes), pitch = 8 * (i - row * n_bytes);
    uint32_t byte = 0;
    for (int64_t bit = 0; bit < 8 && pitch + bit < n_pitches; ++bit) {
      byte |= static_cast<uint32_t>(cell(row * n_pitches + pitch + bit)) << (7 - bit);
    }
    out[i] = static_cast<uint8_t>(byte);
  }
}

// A stored cell: any byte but 0 is True.
struct StoredCell {
  const uint8_t* data;
  __device__ bool operator()(int64_t i) const { return data[i] != 0; }
};

// Bit `pitch` of a packed row.
__device__ inline bool bit_of(const uint8_t* row, int64_t pitch) { return row[pitch / 8] >> (7 - pitch % 8) & 1; }

}  // namespace musegan

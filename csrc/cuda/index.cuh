// The elements that a thread takes, and the index arithmetic of kernels.
//
// Kernels here are grid-stride loops: right for any grid, with no shared memory and no waiting, so that tests run the
// very same bodies on the host (tests/ops/cuda_shim.h).
#pragma once

#include <cstdint>

#include "../sampling.h"

namespace musegan {

__device__ inline int64_t first_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t index_stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// a / b for a >= 0 and b > 0; a GPU divides 32 bits several times as fast as 64.
__device__ inline int64_t quotient(int64_t a, int64_t b) {
  return (a | b) >> 32 == 0 ? static_cast<uint32_t>(a) / static_cast<uint32_t>(b) : a / b;
}
__device__ inline int64_t modulo(int64_t a, int64_t b) { return a - quotient(a, b) * b; }

}  // namespace musegan

// What the Python module shows of the kernels: the CPU level in use, and views for tests.
#pragma once

#include <cstdint>

namespace musegan {

// "generic", "avx2" or "avx512": what this CPU runs, or MUSEGAN_CPU_LEVEL where that is set.
// Throws std::invalid_argument for an unknown level, or one this CPU lacks.
const char* cpu_level();

// csrc/binarize.cpp
const char* threshold_level();  // level of the kernel that runs here
const char* bernoulli_level();
void denominators(const float* x, float* d,
                  int64_t n);  // 1 + exp(-x), as the sampling kernel computes it

}  // namespace musegan

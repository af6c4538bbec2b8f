// threshold and bernoulli on CUDA: the kernels. Written by write_cells and write_packed_cells, or below.
#pragma once

#include "cells.cuh"
#include "stream.cuh"

namespace musegan {

// Logit i less each[i % period] where there is one, in float32.
template <typename T>
struct LessenedLogit {
  const T* x;
  const float* each;
  int64_t period;
  __device__ float operator()(int64_t i) const {
    return each == nullptr ? to_float(x[i]) : add(to_float(x[i]), -each[modulo(i, period)]);
  }
};

// x[i] > at, or > each[i % period] where there is one; Real is double for double and float for all else.
template <typename T, typename Real>
struct ThresholdCell {
  const T* x;
  const Real* each;
  int64_t period;
  Real at;
  __device__ bool operator()(int64_t i) const {
    return real(x[i]) > (each == nullptr ? at : each[modulo(i, period)]);
  }
  __device__ static double real(double value) { return value; }
  template <typename Narrow>
  __device__ static float real(Narrow value) {
    return to_float(value);
  }
};

template <typename T>
struct BernoulliCell {
  LessenedLogit<T> logit;
  Key key;
  int64_t offset;
  __device__ bool operator()(int64_t i) const { return sample_at(logit(i), static_cast<uint64_t>(offset + i), key); }
};

// Thread -> Philox block of the stream -> 8 cells 32 apart.
template <typename T>
__global__ void bernoulli_cells(LessenedLogit<T> logit, int64_t n, Key key, int64_t offset, bool* out) {
  sample_stream(logit, n, key, offset, [=](int64_t i, bool value) { out[i] = value; });
}

}  // namespace musegan

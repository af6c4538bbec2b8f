// Binary neurons on CUDA: the kernels.
#pragma once

#include <cmath>

#include "stream.cuh"

namespace musegan {

template <typename T>
__device__ inline void write_bit(bool value, T& out) {
  from_float(value ? 1.0f : 0.0f, out);
}

// x > 0 in the dtype of x.
__device__ inline bool is_positive(double x) { return x > 0; }
template <typename T>
__device__ inline bool is_positive(T x) {
  return to_float(x) > 0;
}

// Thread -> element i.
template <typename T>
__global__ void neuron_outputs(const T* x, int64_t n, T* out) {
  for (int64_t i = first_index(); i < n; i += index_stride()) write_bit(is_positive(x[i]), out[i]);
}

template <typename T>
struct SlopedLogit {
  const T* x;
  float slope;
  __device__ float operator()(int64_t i) const { return mul(to_float(x[i]), slope); }
};

// Thread -> Philox block of the stream -> 8 elements 32 apart.
template <typename T>
__global__ void stochastic_neuron_outputs(SlopedLogit<T> logit, int64_t n, Key key, int64_t offset, T* out) {
  sample_stream(logit, n, key, offset, [=](int64_t i, bool value) { write_bit(value, out[i]); });
}

// neuron_gradient in float64.
__device__ inline double neuron_gradient_of(double grad, double x, double slope) {
  const double e = exp(-fabs(x * slope)), q = 1 + e;
  return grad * (slope * (e / (q * q)));
}
template <typename T>
__device__ inline T neuron_gradient_of(T grad, T x, double slope) {
  T out;
  from_float(neuron_gradient(to_float(grad), to_float(x), static_cast<float>(slope)), out);
  return out;
}

// Thread -> element i.
template <typename T>
__global__ void neuron_gradients(const T* grad, const T* x, double slope, int64_t n, T* out) {
  for (int64_t i = first_index(); i < n; i += index_stride()) out[i] = neuron_gradient_of(grad[i], x[i], slope);
}

}  // namespace musegan

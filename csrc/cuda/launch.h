// What every CUDA op needs: device and stream of its tensors, launches, dtypes as types.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>

#include <algorithm>
#include <initializer_list>

#include "../floats.h"
#include "../tensors.h"

namespace musegan {

inline void check_cuda(cudaError_t status) {
  const bool unfit = status == cudaErrorNoKernelImageForDevice || status == cudaErrorInsufficientDriver;
  STD_TORCH_CHECK(status == cudaSuccess, "CUDA: ", cudaGetErrorString(status),
                  unfit ? ". Set MUSEGAN_NATIVE=off to run on the reference kernels" : "");
}

// Throws unless all tensors lie on the device of the first; launches go there, onto its current stream.
class Launcher {
 public:
  explicit Launcher(const Tensor& first, std::initializer_list<std::optional<Tensor>> others = {})
      : guard_(first.get_device_index()), stream_(current_stream(first)) {
    for (const std::optional<Tensor>& other : others) {
      STD_TORCH_CHECK(
          !other.has_value() || (other->is_cuda() && other->get_device_index() == first.get_device_index()),
          "all tensors must be on one device: got cuda:", first.get_device_index(), " and another");
    }
  }

  // Runs a grid-stride kernel over n indices. An empty grid would be an error: nothing runs for n = 0.
  template <typename... Parameters, typename... Arguments>
  void operator()(void (*kernel)(Parameters...), int64_t n, Arguments... arguments) const {
    if (n == 0) return;
    const int64_t blocks = std::min((n + kThreads - 1) / kThreads, kMostBlocks);
    kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream_>>>(arguments...);
    check_cuda(cudaGetLastError());
  }

  cudaStream_t stream() const { return stream_; }

 private:
  static constexpr int kThreads = 256;
  static constexpr int64_t kMostBlocks = 1 << 16;  // 16 million threads: more than any device runs at a time

  static cudaStream_t current_stream(const Tensor& x) {
    return static_cast<cudaStream_t>(
        torch::stable::accelerator::getCurrentStream(x.get_device_index()).nativeHandle());
  }

  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

// Calls body with a null pointer to const of the dtype's type.
template <typename Body>
void with_type(Dtype dtype, const Body& body) {
  switch (dtype) {
    case Dtype::kFloat:
      return body(static_cast<const float*>(nullptr));
    case Dtype::kDouble:
      return body(static_cast<const double*>(nullptr));
    case Dtype::kHalf:
      return body(static_cast<const Half*>(nullptr));
    case Dtype::kBFloat16:
      return body(static_cast<const BFloat16*>(nullptr));
  }
}

template <typename T>
T* data_of(const Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}
template <typename T>
const T* const_data_of(const Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

inline void check_dtype(const char* name, const Tensor& x, ScalarType dtype) {
  STD_TORCH_CHECK(x.scalar_type() == dtype, name, " must be ", torch::headeronly::toString(dtype), ": got ",
                  torch::headeronly::toString(x.scalar_type()));
}

inline void check_same_sizes(const char* name, const Tensor& x, const Tensor& like) {
  STD_TORCH_CHECK(x.sizes().equals(like.sizes()), name, " must have the sizes of its roll: got other ones");
}

}  // namespace musegan

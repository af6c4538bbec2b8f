// Runs the bodies of CUDA kernels on the host, one thread after the other: for kernels that wait for no other thread.
// It proves indices and arithmetic, not device code, streams or launch sizes.
#pragma once

#define __global__ static
#define __device__
#define __host__
#define __grid_constant__

struct Dimension {
  unsigned x;
};
static thread_local Dimension threadIdx, blockIdx, blockDim, gridDim;

template <typename... Parameters, typename... Arguments>
void launch(unsigned blocks, unsigned threads, void (*kernel)(Parameters...), Arguments... arguments) {
  gridDim.x = blocks, blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) kernel(arguments...);
  }
}

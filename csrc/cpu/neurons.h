// Binary neurons: elements begin <= i < end of some logits to 0 and 1 in their own dtype, and the gradient.

// 0 and 1 of a dtype, by the bits of its 1.
template <typename U>
static inline void write_ones(const bool* __restrict bits, int64_t n, U one, U* __restrict out) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(bits);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<U>(0 - static_cast<U>(bytes[i])) & one;
}

// Writes n bits as elements begin to begin + n - 1.
static inline void write_bits(const bool* bits, int64_t n, Dtype dtype, void* out, int64_t begin) {
  switch (dtype) {
    case Dtype::kFloat:
      return write_ones<uint32_t>(bits, n, 0x3F800000u, static_cast<uint32_t*>(out) + begin);
    case Dtype::kDouble:
      return write_ones<uint64_t>(bits, n, 0x3FF0000000000000u, static_cast<uint64_t*>(out) + begin);
    case Dtype::kHalf:
      return write_ones<uint16_t>(bits, n, 0x3C00u, static_cast<uint16_t*>(out) + begin);
    case Dtype::kBFloat16:
      return write_ones<uint16_t>(bits, n, 0x3F80u, static_cast<uint16_t*>(out) + begin);
  }
}

constexpr int64_t kNeuronChunk = 16 * kGroup;

static void neuron(const void* x, Dtype dtype, int64_t begin, int64_t end, void* out) {
  bool bits[kNeuronChunk];
  for (int64_t i = begin; i < end; i += kNeuronChunk) {
    const int64_t n = kNeuronChunk < end - i ? kNeuronChunk : end - i;
    threshold(Logits{x, dtype, nullptr, 1}, 0, i, i + n, bits);
    write_bits(bits, n, dtype, out, i);
  }
}

static void stochastic_neuron(const void* x, Dtype dtype, float slope, int64_t seed, int64_t offset, int64_t begin,
                              int64_t end, void* out) {
  bool bits[kNeuronChunk];
  float buffer[kNeuronChunk];
  for (int64_t i = begin; i < end;) {
    const int64_t whole = kNeuronChunk - (offset + i) % kGroup;  // up to the border of a group of the stream
    const int64_t n = whole < end - i ? whole : end - i;
    if (slope == 1.0f) {
      bernoulli(Logits{x, dtype, nullptr, 1}, seed, offset, i, i + n, bits);
    } else {
      const float* values = as_floats(x, dtype, i, n, buffer);
      for (int64_t j = 0; j < n; ++j) buffer[j] = values[j] * slope;
      bernoulli(Logits{buffer, Dtype::kFloat, nullptr, 1}, seed, offset + i, 0, n, bits);
    }
    write_bits(bits, n, dtype, out, i);
    i += n;
  }
}

// Apart, so that the compiler sees that nothing overlaps and uses vectors.
static inline void neuron_gradients(const float* __restrict grad, const float* __restrict x, float slope, int64_t n,
                                    float* __restrict out) {
  int64_t i = 0;
#if defined(MUSEGAN_AVX512)
  // Blocks of four cache lines, while those further on are on their way: the division keeps too few loads in flight.
  constexpr int64_t kBlock = 64, kAhead = 1024;
  for (; i + kBlock <= n; i += kBlock) {
    for (int64_t j = kAhead; j < kAhead + kBlock; j += 16) {
      __builtin_prefetch(grad + i + j);
      __builtin_prefetch(x + i + j);
    }
    for (int64_t j = 0; j < kBlock; ++j) out[i + j] = neuron_gradient(grad[i + j], x[i + j], slope);
  }
#endif
  for (; i < n; ++i) out[i] = neuron_gradient(grad[i], x[i], slope);
}

static void neuron_backward(const void* grad, const void* x, Dtype dtype, double slope, int64_t begin, int64_t end,
                            void* out) {
  if (dtype == Dtype::kDouble) {
    for (int64_t i = begin; i < end; ++i) {
      const double e = __builtin_exp(-__builtin_fabs(static_cast<const double*>(x)[i] * slope)), q = 1 + e;
      static_cast<double*>(out)[i] = static_cast<const double*>(grad)[i] * (slope * (e / (q * q)));
    }
    return;
  }
  const float s = static_cast<float>(slope);
  constexpr int64_t kChunk = 1024;
  float grads[kChunk], logits[kChunk], result[kChunk];
  for (int64_t i = begin; i < end; i += kChunk) {
    const int64_t n = kChunk < end - i ? kChunk : end - i;
    const float* g = as_floats(grad, dtype, i, n, grads);
    const float* values = as_floats(x, dtype, i, n, logits);
    float* r = dtype == Dtype::kFloat ? static_cast<float*>(out) + i : result;
    neuron_gradients(g, values, s, n, r);
    if (dtype == Dtype::kHalf) {
      for (int64_t j = 0; j < n; ++j) from_float(r[j], static_cast<Half*>(out)[i + j]);
    } else if (dtype == Dtype::kBFloat16) {
      for (int64_t j = 0; j < n; ++j) from_float(r[j], static_cast<BFloat16*>(out)[i + j]);
    }
  }
}

// Binary neurons: elements begin <= i < end of some logits to 0 and 1 in their own dtype, and the gradient.

// Calls f with `data` as a pointer to its type; f is a generic lambda.
template <typename F>
static inline void as_typed(void* data, Dtype dtype, const F& f) {
  switch (dtype) {
    case Dtype::kFloat:
      return f(static_cast<float*>(data));
    case Dtype::kDouble:
      return f(static_cast<double*>(data));
    case Dtype::kHalf:
      return f(static_cast<Half*>(data));
    case Dtype::kBFloat16:
      return f(static_cast<BFloat16*>(data));
  }
}

template <typename T>
static inline void write_bits(const bool* bits, int64_t n, T* out) {
  T zero_one[2];
  from_float(0.0f, zero_one[0]);
  from_float(1.0f, zero_one[1]);
  for (int64_t i = 0; i < n; ++i) out[i] = bits[i] ? zero_one[1] : zero_one[0];
}

constexpr int64_t kNeuronChunk = 16 * kGroup;

static void neuron(const void* x, Dtype dtype, int64_t begin, int64_t end, void* out) {
  bool bits[kNeuronChunk];
  for (int64_t i = begin; i < end; i += kNeuronChunk) {
    const int64_t n = kNeuronChunk < end - i ? kNeuronChunk : end - i;
    threshold(Logits{x, dtype, nullptr, 1}, 0, i, i + n, bits);
    as_typed(out, dtype, [&](auto* typed) { write_bits(bits, n, typed + i); });
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
    as_typed(out, dtype, [&](auto* typed) { write_bits(bits, n, typed + i); });
    i += n;
  }
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
    for (int64_t j = 0; j < n; ++j) r[j] = neuron_gradient(g[j], values[j], s);
    if (dtype == Dtype::kHalf) {
      for (int64_t j = 0; j < n; ++j) from_float(r[j], static_cast<Half*>(out)[i + j]);
    } else if (dtype == Dtype::kBFloat16) {
      for (int64_t j = 0; j < n; ++j) from_float(r[j], static_cast<BFloat16*>(out)[i + j]);
    }
  }
}

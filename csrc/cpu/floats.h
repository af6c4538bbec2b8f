// Logits of any dtype as float32.
#pragma once

// x[begin] .. x[begin + n) as float32: where they lie, or converted into `buffer`. float64 is rounded.
static inline const float* as_floats(const void* data, Dtype dtype, int64_t begin, int64_t n, float* buffer) {
  switch (dtype) {
    case Dtype::kFloat:
      return static_cast<const float*>(data) + begin;
    case Dtype::kDouble: {
      const double* x = static_cast<const double*>(data) + begin;
      for (int64_t i = 0; i < n; ++i) buffer[i] = static_cast<float>(x[i]);
      return buffer;
    }
    case Dtype::kBFloat16: {
      const uint16_t* x = static_cast<const uint16_t*>(data) + begin;
      for (int64_t i = 0; i < n; ++i) buffer[i] = to_float(BFloat16{x[i]});
      return buffer;
    }
    case Dtype::kHalf: {
      const uint16_t* x = static_cast<const uint16_t*>(data) + begin;
      int64_t i = 0;
#if defined(MUSEGAN_AVX2) || defined(MUSEGAN_AVX512)
      for (; i + 8 <= n; i += 8) {
        const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
        _mm256_storeu_ps(buffer + i, _mm256_cvtph_ps(eight));
      }
#endif
      for (; i < n; ++i) buffer[i] = half_to_float(x[i]);
      return buffer;
    }
  }
  return buffer;
}

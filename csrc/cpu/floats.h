// Logits of any dtype as float32.
#pragma once

// float16 of one value, by its bits; exact.
static inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7FFFu;
  // A float32 whose exponent is 112 too small; the product puts that right, for subnormals too.
  const float small = float_of(magnitude << 13);
  uint32_t bits = bits_of(small * 0x1p112f);
  if (magnitude >= 0x7C00u) bits |= 0x7F800000u;  // infinity or NaN
  return float_of(sign | bits);
}

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
      for (int64_t i = 0; i < n; ++i) buffer[i] = float_of(static_cast<uint32_t>(x[i]) << 16);
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

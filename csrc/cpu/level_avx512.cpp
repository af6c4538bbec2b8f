// The kernels for AVX-512.
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>  // standard headers before the pragma: what they hold must stay generic

#include <cstdint>
#include <cstring>

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,popcnt,prefer-vector-width=512")
#define MUSEGAN_AVX512 1
#define MUSEGAN_LEVEL_NAME "avx512"
#define MUSEGAN_LEVEL kAvx512Level
#include "level_table.h"
#endif

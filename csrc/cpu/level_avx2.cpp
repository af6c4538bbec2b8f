// The kernels for AVX2.
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>  // standard headers before the pragma: what they hold must stay generic

#include <cstdint>
#include <cstring>

#pragma GCC target("avx2,fma,f16c,bmi,bmi2,popcnt")
#define MUSEGAN_AVX2 1
#define MUSEGAN_LEVEL_NAME "avx2"
#define MUSEGAN_LEVEL kAvx2Level
#include "level_table.h"
#endif

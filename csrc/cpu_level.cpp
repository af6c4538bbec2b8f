// Which instruction sets the kernels may use, found at run time.
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels.h"

namespace musegan {
namespace {

constexpr const char* kLevels[] = {"generic", "avx2", "avx512"};

int best_level() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2")) return 0;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? 2 : 1;
#else
  return 0;
#endif
}

const char* choose_level() {
  const int best = best_level();
  const char* wanted = std::getenv("MUSEGAN_CPU_LEVEL");
  if (wanted == nullptr || *wanted == '\0') return kLevels[best];
  for (int level = 0; level <= best; ++level) {
    if (std::string(wanted) == kLevels[level]) return kLevels[level];
  }
  throw std::invalid_argument("MUSEGAN_CPU_LEVEL must be generic, avx2 or avx512, and at most " +
                              std::string(kLevels[best]) + " on this CPU: got '" + wanted + "'");
}

}  // namespace

const char* cpu_level() {
  static const char* const level = choose_level();
  return level;
}

}  // namespace musegan

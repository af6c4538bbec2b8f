// Which level of kernels runs: found at run time, or named by MUSEGAN_CPU_LEVEL.
#include "level.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace musegan {
namespace {

#if defined(__x86_64__) && defined(__GNUC__)
constexpr const Level* kLevels[] = {&kGenericLevel, &kAvx2Level, &kAvx512Level};

int best_level() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) {
    return 0;  // every CPU with AVX2 and FMA has F16C
  }
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? 2 : 1;
}
#else
constexpr const Level* kLevels[] = {&kGenericLevel};

int best_level() { return 0; }
#endif

const Level& find_level(const char* variable, const char* name) {
  const int best = best_level();
  for (int i = 0; i <= best; ++i) {
    if (std::string(name) == kLevels[i]->name) return *kLevels[i];
  }
  throw std::invalid_argument(std::string(variable) + " must be generic, avx2 or avx512, and at most " +
                              kLevels[best]->name + " on this CPU: got '" + name + "'");
}

const Level& first_level() {
  const char* wanted = std::getenv("MUSEGAN_CPU_LEVEL");
  if (wanted == nullptr || *wanted == '\0') return *kLevels[best_level()];
  return find_level("MUSEGAN_CPU_LEVEL", wanted);
}

std::atomic<const Level*>& chosen_level() {
  static std::atomic<const Level*> chosen{&first_level()};
  return chosen;
}

}  // namespace

const Level& level() { return *chosen_level().load(std::memory_order_relaxed); }

void use_level(const char* name) { chosen_level().store(&find_level("the level", name)); }

const char* const* level_names() {
  static const char* names[4] = {};
  if (names[0] == nullptr) {
    for (int i = best_level(); i >= 0; --i) names[i] = kLevels[i]->name;
  }
  return names;
}

}  // namespace musegan

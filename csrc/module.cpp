// The importable module musegan._C: build facts, CPU level, views for tests. Importing it registers
// the kernels. No torch header here: PyPI's pybind11 and torch's own copy exclude each other.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <vector>

#include "level.h"
#include "sampling.h"

namespace py = pybind11;

namespace {

py::dict build_facts() {
  py::dict facts;
#if defined(__clang__)
  facts["compiler"] = "clang " __clang_version__;
#elif defined(__GNUC__)
  facts["compiler"] = "g++ " __VERSION__;
#else
  facts["compiler"] = "unknown";
#endif
  facts["flags"] = MUSEGAN_BUILD_FLAGS;
  facts["torch_built_with"] = MUSEGAN_BUILD_TORCH;
  facts["torch_target"] = std::to_string(TORCH_TARGET_VERSION >> 56) + "." +
                          std::to_string((TORCH_TARGET_VERSION >> 48) & 0xFF);
  return facts;
}

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
  musegan::philox(c, {key[0], key[1]});
  return {c[0], c[1], c[2], c[3]};
}

py::array_t<float> denominators(py::array_t<float, py::array::c_style> x) {
  py::array_t<float> d(x.size());
  musegan::level().denominators(x.data(), d.mutable_data(), x.size());
  return d;
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native kernels of musegan; importing it registers them.";
  m.def("build_facts", &build_facts,
        "Compiler, flags, torch of the build, lowest torch it runs with.");
  m.def(
      "cpu_level", [] { return std::string(musegan::level().name); },
      "Instruction sets in use: 'generic', 'avx2' or 'avx512'; see MUSEGAN_CPU_LEVEL.");
  m.def(
      "cpu_levels",
      [] {
        std::vector<std::string> names;
        for (auto name = musegan::level_names(); *name != nullptr; ++name) names.push_back(*name);
        return names;
      },
      "The levels that this CPU has.");
  m.def(
      "use_cpu_level", [](const std::string& name) { musegan::use_level(name.c_str()); }, py::arg("name"),
      "Changes the level of the whole process; for tests and benchmarks.");
  m.def("philox", &philox, py::arg("counter"), py::arg("key"),
        "Philox4x32-10 of one counter; for tests.");
  m.def("denominators", &denominators, py::arg("x").noconvert(),
        "1 + exp(-x) of float32 as bernoulli computes it, flat; for tests.");
  m.def(
      "filter_margin", [] { return musegan::level().filter_margin; },
      "How far the sampling filter lets 1 + exp(-x) be off, relative; for tests.");
  m.def(
      "filter_error",
      [](uint64_t first, uint64_t last) {
        py::gil_scoped_release release;
        return musegan::level().filter_error(first, last);
      },
      py::arg("first"), py::arg("last"),
      "How far it is off at most, over the float32 numbers with bits first <= bits < last; for tests.");
}

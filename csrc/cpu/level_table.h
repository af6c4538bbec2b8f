// Fills one level's table; included once by each level_*.cpp, after its #pragma GCC target.
//
// Everything in here has internal linkage and calls no function template of the standard library: the linker keeps
// one copy of what several files share, and that copy must not be the AVX-512 one.
#include <cstdint>
#include <cstring>

#include "../floats.h"
#include "../level.h"
#include "../sampling.h"

namespace musegan {
namespace {

#include "binarize.h"
#include "bits.h"
#include "cleanup.h"
#include "neurons.h"
#include "notes.h"

}  // namespace

extern const Level MUSEGAN_LEVEL;
const Level MUSEGAN_LEVEL = {
    MUSEGAN_LEVEL_NAME,
    // binarize
    threshold,
    bernoulli,
    denominators,
    filter_error,
    kFilterMargin,
    // neurons
    neuron,
    stochastic_neuron,
    neuron_backward,
    // bits
    pack,
    unpack,
    unpack_moved,
    // notes
    note_events,
    write_notes,
    // cleanup
    cleanup,
};

}  // namespace musegan

// The kernels for any machine.
#define MUSEGAN_LEVEL_NAME "generic"
#define MUSEGAN_LEVEL kGenericLevel
#include "level_table.h"

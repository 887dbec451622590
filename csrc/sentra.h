/* sentra.h - what every C file includes: fixed-width types, the boundary, error helpers. */
#ifndef SENTRA_H
#define SENTRA_H

#include <stddef.h>
#include <stdint.h>

#include "sentra.cdef.h"

/* Fill *error (may be NULL) and return -1, so that `return sentra_fail(...)` reads as one thought. */
int sentra_fail(struct sentra_error *error, int err, const char *step, const char *detail_format, ...)
    __attribute__((format(printf, 4, 5)));

#endif

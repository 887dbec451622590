/* error.c - how a C function reports a failure: one struct, filled once, turned into an exception by Python. */
#include <stdarg.h>
#include <stdio.h>

#include "sentra.h"

int sentra_fail(struct sentra_error *error, int err, const char *step, const char *detail_format, ...)
{
    if (error) {
        va_list list;
        error->err = err;
        snprintf(error->step, sizeof error->step, "%s", step);
        va_start(list, detail_format);
        vsnprintf(error->detail, sizeof error->detail, detail_format ? detail_format : "", list);
        va_end(list);
    }
    return -1;
}

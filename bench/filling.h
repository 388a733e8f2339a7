/* Filling a list of attributes: after the first failure nothing more is set, and the failure stays. */
#ifndef BENCH_FILLING_H
#define BENCH_FILLING_H

#include <attn/attributes.h>

typedef struct filling {
    attn_attributes *list;
    attn_status status;
} filling;

void put_integer(filling *to, const char *name, int64_t value);
void put_real(filling *to, const char *name, double value);
void put_text(filling *to, const char *name, const char *value);

#endif

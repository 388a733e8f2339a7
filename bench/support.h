/* What each exchange can be used with: the answers of attn_plan_make, asked row by row. */
#ifndef BENCH_SUPPORT_H
#define BENCH_SUPPORT_H

#include <attn/status.h>

/* Prints the matrix on stdout, with the reason of each "no" below it. Not collective. ATTN_MEMORY. */
attn_status support_print(attn_error *error);

#endif

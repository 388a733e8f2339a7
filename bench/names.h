/* The library's tables, and the passes, as lists of names, so that options accept exactly what exists. */
#ifndef BENCH_NAMES_H
#define BENCH_NAMES_H

#include "parse.h"

extern const name_table names_dtype, names_kernel, names_exchange, names_layout, names_combine, names_transfer,
    names_inner, names_pass;
extern const name_table names_probe, names_metric, names_plan;

#endif

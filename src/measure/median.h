/* The interval of a median over values that are sorted already; cannot fail. */
#ifndef ATTN_MEASURE_MEDIAN_H
#define ATTN_MEASURE_MEDIAN_H

#include <attn/statistics.h>

/* Sorts values[0..count) in rising order, in place. */
void attn_values_sort(double *values, size_t count);

/* As attn_median_interval; sorted [count] rising, count >= 1. */
attn_median attn_median_of_sorted(const double *sorted, size_t count, double level);

#endif

/* The median of a few times, for probes. */
#ifndef DIST_MEDIAN_H
#define DIST_MEDIAN_H

/* Of values[count], count >= 1, which are put in order. */
double attn_median_of(double *values, int count);

#endif

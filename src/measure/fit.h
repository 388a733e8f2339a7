/* Linear least squares of few terms whose factors may not be negative. */
#ifndef ATTN_MEASURE_FIT_H
#define ATTN_MEASURE_FIT_H

#include <stdbool.h>
#include <stddef.h>

enum { ATTN_FIT_TERMS = 3 };

/* Finds the factors c >= 0 for which the sum over all rows of (sum_t x[row][t] c[t] / y[row] - 1)^2 is least: relative
 * errors, so that every row counts alike. All sets of terms are tried, and of those whose least squares have no
 * negative factor the best is the solution (Lawson and Hanson, Solving Least Squares Problems, chapter 23). A term that
 * is 0 in all rows gets the factor 0.
 *   x       in, [rows][ATTN_FIT_TERMS], of which terms are used
 *   y       in, [rows], > 0
 *   c       out, [terms]
 * Returns false when the rows cannot tell the terms apart; c is then not set. */
bool attn_fit(const double (*x)[ATTN_FIT_TERMS], const double *y, size_t rows, size_t terms, double *c);

#endif

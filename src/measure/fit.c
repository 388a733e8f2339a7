#include "measure/fit.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The normal equations of relative errors, each term scaled to the norm 1. */
typedef struct equations {
    double norm[ATTN_FIT_TERMS], matrix[ATTN_FIT_TERMS][ATTN_FIT_TERMS], right[ATTN_FIT_TERMS];
    size_t terms;
} equations;

static equations make_equations(const double (*x)[ATTN_FIT_TERMS], const double *y, size_t rows, size_t terms)
{
    equations e = {.terms = terms};

    for (size_t row = 0; row < rows; row++)
        for (size_t t = 0; t < terms; t++)
            e.norm[t] += (x[row][t] / y[row]) * (x[row][t] / y[row]);
    for (size_t t = 0; t < terms; t++)
        e.norm[t] = sqrt(e.norm[t]);
    for (size_t row = 0; row < rows; row++)
        for (size_t t = 0; t < terms; t++) {
            const double scaled = e.norm[t] > 0 ? x[row][t] / y[row] / e.norm[t] : 0;

            e.right[t] += scaled;
            for (size_t u = 0; u < terms; u++)
                e.matrix[t][u] += e.norm[u] > 0 ? scaled * x[row][u] / y[row] / e.norm[u] : 0;
        }
    return e;
}

static bool has(unsigned set, size_t term)
{
    return (set >> term & 1) != 0;
}

/* Solves the equations of the terms of a set by Cholesky; false when they are dependent. The factors of all others are
 * 0, and all are for terms of norm 1. */
static bool solve(const equations *e, unsigned set, double *c)
{
    double lower[ATTN_FIT_TERMS][ATTN_FIT_TERMS] = {{0}}, z[ATTN_FIT_TERMS] = {0};
    size_t index[ATTN_FIT_TERMS] = {0}, count = 0;

    memset(c, 0, e->terms * sizeof *c);
    for (size_t t = 0; t < e->terms; t++)
        if (has(set, t))
            index[count++] = t;
    for (size_t i = 0; i < count; i++) {
        z[i] = e->right[index[i]];
        for (size_t j = 0; j <= i; j++) {
            double sum = e->matrix[index[i]][index[j]];

            for (size_t k = 0; k < j; k++)
                sum -= lower[i][k] * lower[j][k];
            if (i == j && sum < 1e-9)
                return false;
            lower[i][j] = i == j ? sqrt(sum) : sum / lower[j][j];
            if (j < i)
                z[i] -= lower[i][j] * z[j];
        }
        z[i] /= lower[i][i];
    }
    for (size_t i = count; i-- > 0;) {
        double sum = z[i];

        for (size_t k = i + 1; k < count; k++)
            sum -= lower[k][i] * c[index[k]];
        c[index[i]] = sum / lower[i][i];
    }
    return true;
}

/* How much of the sum of squares a solution takes away. */
static double gain(const equations *e, const double *c)
{
    double sum = 0;

    for (size_t t = 0; t < e->terms; t++)
        sum += c[t] * e->right[t];
    return sum;
}

bool attn_fit(const double (*x)[ATTN_FIT_TERMS], const double *y, size_t rows, size_t terms, double *c)
{
    const equations e = make_equations(x, y, rows, terms);
    unsigned all = 0;
    double best = 0, trial[ATTN_FIT_TERMS];

    assert(terms >= 1 && terms <= ATTN_FIT_TERMS);
    for (size_t t = 0; t < terms; t++)
        all |= (e.norm[t] > 0 ? 1u : 0u) << t;
    if (all == 0 || !solve(&e, all, trial))
        return false;
    memset(c, 0, terms * sizeof *c);
    for (unsigned set = 1; set <= all; set++) {
        bool good = (set & ~all) == 0 && solve(&e, set, trial);

        for (size_t t = 0; t < terms; t++)
            good = good && trial[t] >= 0;
        if (!good || gain(&e, trial) <= best)
            continue;
        best = gain(&e, trial);
        for (size_t t = 0; t < terms; t++)
            c[t] = has(set, t) ? trial[t] / e.norm[t] : 0;
    }
    return true;
}

#include "dist/median.h"

double attn_median_of(double *values, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && values[j] < values[j - 1]; j--) {
            const double kept = values[j];

            values[j] = values[j - 1];
            values[j - 1] = kept;
        }
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

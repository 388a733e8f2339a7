/* harness.h for one process and without libraries, where there is neither an MPI nor a CUnit for the target. CUnit's
 * macros arrive at its one function below. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

static unsigned assertions, failures;

CU_BOOL CU_assertImplementation(CU_BOOL value, unsigned line, const char *condition, const char *file,
                                const char *function, CU_BOOL fatal)
{
    (void)function;
    assertions++;
    if (!value) {
        failures++;
        fprintf(stderr, "%s:%u: %s\n", file, line, condition);
    }
    if (!value && fatal)
        exit(1);
    return value;
}

int attn_test_main(int argc, char **argv, const char *suite, const attn_test *tests, size_t count)
{
    (void)argc, (void)argv;
    for (size_t i = 0; i < count; i++)
        tests[i].run();
    printf("%s: %zu tests, %u assertions, %u failed, %d skipped\n", suite, count, assertions, failures,
           attn_test_skipped());
    return count == 0 || failures > 0;
}

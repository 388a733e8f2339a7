/* The checks of harness.h, which need no MPI. */
#include "harness.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

attn_error attn_test_error = ATTN_ERROR_INIT;

static int skipped;

/* A broken kernel fails in millions of elements; the first of them tell enough. */
enum { RECORDED_FAILURES = 20 };

void attn_test_close(double got, double want, double tolerance, const char *text, const char *file, unsigned line)
{
    static int recorded;
    bool close;
    char condition[512];

    if (isnan(want))
        close = isnan(got);
    else if (isinf(want))
        close = got == want;
    else
        close = fabs(got - want) <= tolerance * (1 + fabs(want));
    if (close) {
        CU_assertImplementation(CU_TRUE, line, text, file, "", CU_FALSE);
    } else if (recorded < RECORDED_FAILURES) {
        recorded++;
        snprintf(condition, sizeof condition, "%s: got %.9g, want %.9g, tolerance %.3g", text, got, want, tolerance);
        CU_assertImplementation(CU_FALSE, line, condition, file, "", CU_FALSE);
    }
}

void attn_test_ok(attn_status status, const attn_error *error, const char *text, const char *file, unsigned line)
{
    char condition[1024];

    snprintf(condition, sizeof condition, "%s: %s: %s", text, attn_status_words(status), error->message);
    CU_assertImplementation(status == ATTN_OK, line, condition, file, "", CU_FALSE);
}

void attn_test_skip(const char *reason)
{
    skipped++;
    printf("  skipped: %s\n", reason);
}

const char *attn_test_data(const char *name)
{
    static char path[1024];

    snprintf(path, sizeof path, "%s/%s", ATTN_TEST_DATA, name);
    return path;
}

int attn_test_skipped(void)
{
    return skipped;
}

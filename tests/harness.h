/* A thin layer over CUnit: one executable a file, the same tests on every rank, one verdict for all ranks. */
#ifndef ATTN_TEST_HARNESS_H
#define ATTN_TEST_HARNESS_H

#include <CUnit/CUnit.h>

#include <stddef.h>

typedef struct attn_test {
    const char *name;
    void (*run)(void);
} attn_test;

/* Initialises MPI, runs the tests on every rank and returns the exit code: 0 when all assertions held on all ranks.
 * Rank 0 prints CUnit's summary; any rank prints its own failures. */
int attn_test_main(int argc, char **argv, const char *suite, const attn_test *tests, size_t count);

/* Asserts that |got - want| <= tolerance * (1 + |want|), NaN and infinities equal only to themselves; prints both. */
#define TEST_CLOSE(got, want, tolerance) attn_test_close((got), (want), (tolerance), #got, __FILE__, __LINE__)
void attn_test_close(double got, double want, double tolerance, const char *text, const char *file, unsigned line);

/* Asserts that a call returned ATTN_OK; prints the message otherwise. */
#define TEST_OK(call) attn_test_ok((call), &attn_test_error, #call, __FILE__, __LINE__)
#include <attn/status.h>
extern attn_error attn_test_error; /* pass &attn_test_error to the call under TEST_OK */
void attn_test_ok(attn_status status, const attn_error *error, const char *text, const char *file, unsigned line);

/* Marks the rest of a test as not run here, with the reason, in the output. */
void attn_test_skip(const char *reason);
int attn_test_skipped(void); /* how often */

/* A path of a file below tests/data ("golden/causal.h5"); static storage, valid until the next call. */
const char *attn_test_data(const char *name);

#endif

#include "harness.h"

#include <CUnit/TestRun.h>

#include <math.h>
#include <mpi.h>
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

int attn_test_main(int argc, char **argv, const char *suite_name, const attn_test *tests, size_t count)
{
    int rank, failures, all_failures;
    CU_pSuite suite;

    if (MPI_Init(&argc, &argv) != MPI_SUCCESS)
        return 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (CU_initialize_registry() != CUE_SUCCESS || (suite = CU_add_suite(suite_name, NULL, NULL)) == NULL) {
        fprintf(stderr, "%s: CUnit: %s\n", suite_name, CU_get_error_msg());
        MPI_Abort(MPI_COMM_WORLD, 1);
        return 1;
    }
    for (size_t i = 0; i < count; i++)
        if (CU_add_test(suite, tests[i].name, tests[i].run) == NULL)
            MPI_Abort(MPI_COMM_WORLD, 1);

    CU_run_all_tests();
    failures = (int)CU_get_number_of_failures();
    for (CU_pFailureRecord f = CU_get_failure_list(); f != NULL; f = f->pNext)
        fprintf(stderr, "rank %d: %s: %s:%u: %s\n", rank, f->pTest != NULL ? f->pTest->pName : suite_name,
                f->strFileName, f->uiLineNumber, f->strCondition);
    MPI_Allreduce(&failures, &all_failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0)
        printf("%s: %u tests, %u assertions, %d failed on all ranks, %d skipped\n", suite_name,
               CU_get_number_of_tests_run(), CU_get_number_of_asserts(), all_failures, skipped);
    if (rank == 0 && CU_get_number_of_tests_run() == 0)
        all_failures = 1;
    CU_cleanup_registry();
    MPI_Finalize();
    return all_failures != 0;
}

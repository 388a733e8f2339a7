#include "harness.h"

#include <CUnit/TestRun.h>

#include <mpi.h>
#include <stdio.h>

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
               CU_get_number_of_tests_run(), CU_get_number_of_asserts(), all_failures, attn_test_skipped());
    if (rank == 0 && CU_get_number_of_tests_run() == 0)
        all_failures = 1;
    CU_cleanup_registry();
    MPI_Finalize();
    return all_failures != 0;
}

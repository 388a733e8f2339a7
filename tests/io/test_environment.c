/* The provenance of a process. */
#include "harness.h"

#include <attn/result.h>
#include <attn/version.h>

#include <stdlib.h>
#include <string.h>

static void test_values(void)
{
    static const char *const texts[] = {"hostname", "system",   "kernel",     "architecture", "version",
                                        "commit",   "compiler", "build_type", "hdf5",         "mpi"};
    attn_attributes *list = NULL;

    TEST_OK(attn_attributes_create(&list, &attn_test_error));
    TEST_OK(attn_environment_collect(list, &attn_test_error));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        CU_ASSERT(strlen(attn_attributes_text(list, texts[i], "")) > 0);
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(list, "version", ""), ATTN_VERSION);
    CU_ASSERT_EQUAL(strlen(attn_attributes_text(list, "date", "")), strlen("2000-01-01T00:00:00Z"));
    CU_ASSERT(attn_attributes_integer(list, "cpus", 0) > 0);
    CU_ASSERT(attn_attributes_integer(list, "memory_bytes", 0) > 0);
    for (size_t i = 0; i < attn_attributes_count(list); i++) {
        const attn_attribute *const a = attn_attributes_at(list, i);

        CU_ASSERT(a->kind != ATTN_VALUE_TEXT || strchr(a->text, '\n') == NULL || strncmp(a->name, "env.", 4) == 0);
    }
    attn_attributes_destroy(list);
}

/* What steers MPI and OpenMP is kept; who ran it, and from where, is not. */
static void test_variables(void)
{
    attn_attributes *list = NULL;

    setenv("OMP_TEST_OF_ATTNBENCH", "a=b", 1);
    setenv("KMP_TEST_OF_ATTNBENCH", "", 1);
    setenv("SLURM_JOB_NUM_NODES", "4", 1);
    setenv("SLURM_JOB_USER", "somebody", 1);
    setenv("SLURM_SUBMIT_DIR", "/home/somebody", 1);
    setenv("OTHER_TEST_OF_ATTNBENCH", "c", 1);
    TEST_OK(attn_attributes_create(&list, &attn_test_error));
    TEST_OK(attn_environment_collect(list, &attn_test_error));
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(list, "env.OMP_TEST_OF_ATTNBENCH", ""), "a=b");
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(list, "env.KMP_TEST_OF_ATTNBENCH", "absent"), "");
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(list, "env.SLURM_JOB_NUM_NODES", ""), "4");
    CU_ASSERT_PTR_NULL(attn_attributes_find(list, "env.SLURM_JOB_USER"));
    CU_ASSERT_PTR_NULL(attn_attributes_find(list, "env.SLURM_SUBMIT_DIR"));
    CU_ASSERT_PTR_NULL(attn_attributes_find(list, "env.OTHER_TEST_OF_ATTNBENCH"));
    attn_attributes_destroy(list);
}

static const attn_test tests[] = {
    {"machine and build", test_values},
    {"environment variables", test_variables},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "io/environment", tests, sizeof tests / sizeof tests[0]);
}

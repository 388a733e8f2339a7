/* Pass names. */
#include "harness.h"

#include <attn/pass.h>

#include <string.h>

static void test_names(void)
{
    CU_ASSERT_EQUAL(ATTN_PASS_FORWARD, 0); /* what a zeroed plan option means */
    CU_ASSERT_STRING_EQUAL(attn_pass_name(ATTN_PASS_BACKWARD), "backward");
    CU_ASSERT_STRING_EQUAL(attn_pass_name(ATTN_PASS_COUNT), "unknown");
    CU_ASSERT_STRING_EQUAL(attn_pass_meaning(ATTN_PASS_COUNT), "unknown");
    for (int p = 0; p < ATTN_PASS_COUNT; p++) {
        attn_pass found = ATTN_PASS_COUNT;

        CU_ASSERT(strlen(attn_pass_meaning((attn_pass)p)) > 0);
        CU_ASSERT(attn_pass_find(attn_pass_name((attn_pass)p), &found));
        CU_ASSERT_EQUAL(found, (attn_pass)p);
    }
}

static void test_no_such_pass(void)
{
    attn_pass pass = ATTN_PASS_DECODE;

    CU_ASSERT_FALSE(attn_pass_find("backwards", &pass));
    CU_ASSERT_FALSE(attn_pass_find("", &pass));
    CU_ASSERT_EQUAL(pass, ATTN_PASS_DECODE);
}

static const attn_test tests[] = {
    {"names and meanings", test_names},
    {"a name that is none", test_no_such_pass},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/pass", tests, sizeof tests / sizeof tests[0]);
}

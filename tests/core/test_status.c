/* Status words and messages. */
#include "harness.h"

#include <string.h>

static void test_words(void)
{
    for (int s = 0; s < ATTN_STATUS_COUNT; s++)
        CU_ASSERT(strlen(attn_status_words((attn_status)s)) > 0);
    CU_ASSERT_STRING_EQUAL(attn_status_words(ATTN_STATUS_COUNT), "unknown status");
}

static void test_message(void)
{
    attn_error error = ATTN_ERROR_INIT;

    CU_ASSERT_EQUAL(attn_error_set(&error, ATTN_ARGUMENT, "--seq %d: a positive number", -5), ATTN_ARGUMENT);
    CU_ASSERT_EQUAL(error.status, ATTN_ARGUMENT);
    CU_ASSERT_STRING_EQUAL(error.message, "--seq -5: a positive number");
    CU_ASSERT_EQUAL(attn_error_set(NULL, ATTN_MEMORY, "x"), ATTN_MEMORY);
}

static void test_long_message_is_cut(void)
{
    attn_error error = ATTN_ERROR_INIT;
    char text[2 * ATTN_MESSAGE_MAX];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    attn_error_set(&error, ATTN_FILE, "%s", text);
    CU_ASSERT_EQUAL(strlen(error.message), ATTN_MESSAGE_MAX - 1);
}

static const attn_test tests[] = {
    {"every status has words", test_words},
    {"message and status are stored", test_message},
    {"a long message is cut", test_long_message_is_cut},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/status", tests, sizeof tests / sizeof tests[0]);
}

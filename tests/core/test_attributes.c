/* The list of named values: order, replacing, reading back, text form and identity. */
#include "harness.h"

#include <attn/attributes.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static attn_attributes *make(void)
{
    attn_attributes *a;

    TEST_OK(attn_attributes_create(&a, &attn_test_error));
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    return a;
}

static void test_set_and_find(void)
{
    attn_attributes *const a = make();

    CU_ASSERT_EQUAL(attn_attributes_count(a), 0);
    CU_ASSERT_PTR_NULL(attn_attributes_find(a, "seq"));
    CU_ASSERT_EQUAL(attn_attributes_set_integer(a, "seq", INT64_MIN), ATTN_OK);
    CU_ASSERT_EQUAL(attn_attributes_set_real(a, "scale", 0.25), ATTN_OK);
    CU_ASSERT_EQUAL(attn_attributes_set_text(a, "layout", "zigzag"), ATTN_OK);
    CU_ASSERT_EQUAL(attn_attributes_count(a), 3);
    CU_ASSERT_EQUAL(attn_attributes_integer(a, "seq", 1), INT64_MIN);
    CU_ASSERT_EQUAL(attn_attributes_real(a, "seq", 1), (double)INT64_MIN);
    CU_ASSERT_EQUAL(attn_attributes_real(a, "scale", 1), 0.25);
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(a, "layout", "?"), "zigzag");
    CU_ASSERT_EQUAL(attn_attributes_integer(a, "scale", -5), -5);
    CU_ASSERT_EQUAL(attn_attributes_real(a, "layout", -5), -5);
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(a, "seq", "?"), "?");
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(a, "absent", "?"), "?");
    CU_ASSERT_PTR_NULL(attn_attributes_text(a, "absent", NULL));
    CU_ASSERT_EQUAL(attn_attributes_find(a, "seq"), attn_attributes_at(a, 0));
    attn_attributes_destroy(a);
    attn_attributes_destroy(NULL);
}

static void test_replace_keeps_place(void)
{
    attn_attributes *const a = make();

    CU_ASSERT_EQUAL(attn_attributes_set_text(a, "first", "text"), ATTN_OK);
    CU_ASSERT_EQUAL(attn_attributes_set_integer(a, "second", 2), ATTN_OK);
    CU_ASSERT_EQUAL(attn_attributes_set_text(a, "first", attn_attributes_text(a, "first", "") + 2), ATTN_OK);
    CU_ASSERT_STRING_EQUAL(attn_attributes_at(a, 0)->text, "xt");
    CU_ASSERT_EQUAL(attn_attributes_set_real(a, "first", 1.5), ATTN_OK);
    CU_ASSERT_EQUAL(attn_attributes_count(a), 2);
    CU_ASSERT_STRING_EQUAL(attn_attributes_at(a, 0)->name, "first");
    CU_ASSERT_EQUAL(attn_attributes_at(a, 0)->kind, ATTN_VALUE_REAL);
    CU_ASSERT_PTR_NULL(attn_attributes_at(a, 0)->text);
    attn_attributes_destroy(a);
}

static void test_many(void)
{
    attn_attributes *const a = make();
    char name[16];

    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "n%d", i);
        CU_ASSERT_EQUAL(attn_attributes_set_integer(a, name, i), ATTN_OK);
    }
    CU_ASSERT_EQUAL(attn_attributes_count(a), 100);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "n%d", i);
        CU_ASSERT_STRING_EQUAL(attn_attributes_at(a, (size_t)i)->name, name);
        CU_ASSERT_EQUAL(attn_attributes_integer(a, name, -1), i);
    }
    attn_attributes_destroy(a);
}

static void test_format(void)
{
    const struct {
        double value;
        const char *text;
    } reals[] = {{0.1, "0.1"},
                 {0.5, "0.5"},
                 {-0.0, "-0"},
                 {1e100, "1e+100"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {(double)INFINITY, "inf"}};
    attn_attribute a = {.kind = ATTN_VALUE_REAL};
    char buffer[64];

    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        a.real = reals[i].value;
        attn_attribute_format(&a, buffer, sizeof buffer);
        CU_ASSERT_STRING_EQUAL(buffer, reals[i].text);
    }
    for (int i = 0; i < 2000; i++) {
        a.real = ldexp(sin(i), 40 * (i % 50) - 1000);
        attn_attribute_format(&a, buffer, sizeof buffer);
        CU_ASSERT_EQUAL(strtod(buffer, NULL), a.real);
    }
    a.real = (double)NAN;
    attn_attribute_format(&a, buffer, sizeof buffer);
    CU_ASSERT_STRING_EQUAL(buffer, "nan");
    a.real = -(double)NAN;
    attn_attribute_format(&a, buffer, sizeof buffer);
    CU_ASSERT_STRING_EQUAL(buffer, "nan");
    a = (attn_attribute){.kind = ATTN_VALUE_INTEGER, .integer = INT64_MIN};
    attn_attribute_format(&a, buffer, sizeof buffer);
    CU_ASSERT_STRING_EQUAL(buffer, "-9223372036854775808");
    attn_attribute_format(&a, buffer, 5);
    CU_ASSERT_STRING_EQUAL(buffer, "-922");
}

static void test_id(void)
{
    attn_attributes *const a = make();
    char empty[ATTN_ID_SIZE], one[ATTN_ID_SIZE], two[ATTN_ID_SIZE], long_text[3000];

    attn_attributes_id(a, empty);
    CU_ASSERT_STRING_EQUAL(empty, "cbf29ce484222325");
    CU_ASSERT_EQUAL(attn_attributes_set_text(a, "a", "b"), ATTN_OK);
    attn_attributes_id(a, one);
    CU_ASSERT_STRING_EQUAL(one, "ec8b8c82c37596fb"); /* FNV-1a of "a=b\n" */
    CU_ASSERT_EQUAL(attn_attributes_set_integer(a, "n", 12), ATTN_OK);
    attn_attributes_id(a, one);
    CU_ASSERT_EQUAL(attn_attributes_set_integer(a, "n", 13), ATTN_OK);
    attn_attributes_id(a, two);
    CU_ASSERT_STRING_NOT_EQUAL(one, two);
    CU_ASSERT_EQUAL(attn_attributes_set_integer(a, "n", 12), ATTN_OK);
    attn_attributes_id(a, two);
    CU_ASSERT_STRING_EQUAL(one, two);

    /* A difference at the end of a long text counts too. */
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    CU_ASSERT_EQUAL(attn_attributes_set_text(a, "a", long_text), ATTN_OK);
    attn_attributes_id(a, one);
    long_text[sizeof long_text - 2] = 'y';
    CU_ASSERT_EQUAL(attn_attributes_set_text(a, "a", long_text), ATTN_OK);
    attn_attributes_id(a, two);
    CU_ASSERT_STRING_NOT_EQUAL(one, two);
    attn_attributes_destroy(a);
}

static const attn_test tests[] = {
    {"set, find and fall back", test_set_and_find},
    {"replacing keeps the place", test_replace_keeps_place},
    {"more than the first room", test_many},
    {"values as text", test_format},
    {"identity", test_id},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/attributes", tests, sizeof tests / sizeof tests[0]);
}

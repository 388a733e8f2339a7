/* Tables: alignment, Markdown and CSV. */
#include "harness.h"

#include <attn/study.h>

#include <stdlib.h>
#include <string.h>

static char *print(const attn_table *table, attn_table_format format)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    CU_ASSERT_EQUAL(attn_table_print(table, format, stream), ATTN_OK);
    fclose(stream);
    return text;
}

static void check(const attn_table *table, attn_table_format format, const char *want)
{
    char *got = print(table, format);

    if (strcmp(got, want) != 0)
        printf("got:\n%s\nwant:\n%s\n", got, want);
    CU_ASSERT_STRING_EQUAL(got, want);
    free(got);
}

static attn_table *two_rows(void)
{
    attn_table *table = NULL;

    TEST_OK(attn_table_create("<name|value|<remark", &table, &attn_test_error));
    attn_table_cell(table, "%s", "ring");
    attn_table_cell(table, "%d", 12345);
    attn_table_cell(table, "%s", "says \"a, b\"");
    attn_table_end_row(table);
    attn_table_cell(table, "%s", "all|gather");
    attn_table_end_row(table);
    return table;
}

static void test_text(void)
{
    attn_table *table = two_rows();

    check(table, ATTN_TABLE_TEXT,
          "name        value  remark\n"
          "----------  -----  -----------\n"
          "ring        12345  says \"a, b\"\n"
          "all|gather\n");
    attn_table_destroy(table);
}

static void test_markdown(void)
{
    attn_table *table = two_rows();

    check(table, ATTN_TABLE_MARKDOWN,
          "| name | value | remark |\n|:--|--:|:--|\n"
          "| ring | 12345 | says \"a, b\" |\n| all\\|gather |  |  |\n");
    attn_table_destroy(table);
}

static void test_csv(void)
{
    attn_table *table = two_rows();

    check(table, ATTN_TABLE_CSV, "name,value,remark\nring,12345,\"says \"\"a, b\"\"\"\nall|gather,,\n");
    attn_table_destroy(table);
}

static void test_no_rows(void)
{
    attn_table *table = NULL;

    TEST_OK(attn_table_create("a|<b", &table, &attn_test_error));
    check(table, ATTN_TABLE_TEXT, "a  b\n-  -\n");
    check(table, ATTN_TABLE_CSV, "a,b\n");
    attn_table_destroy(table);
    attn_table_destroy(NULL);
}

static void test_width_counts_characters(void)
{
    attn_table *table = NULL;

    TEST_OK(attn_table_create("<x|y", &table, &attn_test_error));
    attn_table_cell(table, "%s", "\xC3\xA9t\xC3\xA9"); /* three characters in five bytes */
    attn_table_cell(table, "1");
    attn_table_end_row(table);
    attn_table_cell(table, "%s", "line\nbreak");
    attn_table_cell(table, "2");
    attn_table_end_row(table);
    check(table, ATTN_TABLE_TEXT, "x           y\n----------  -\n\xC3\xA9t\xC3\xA9         1\nline break  2\n");
    attn_table_destroy(table);
}

static void test_many_rows(void)
{
    attn_table *table = NULL;
    char *text;
    size_t lines = 0;

    TEST_OK(attn_table_create("n|square", &table, &attn_test_error));
    for (int i = 0; i < 1001; i++) {
        attn_table_cell(table, "%d", i);
        attn_table_cell(table, "%d", i * i);
        attn_table_end_row(table);
    }
    text = print(table, ATTN_TABLE_CSV);
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    CU_ASSERT_EQUAL(lines, 1002);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\n1000,1000000\n"));
    free(text);
    attn_table_destroy(table);
}

static const attn_test tests[] = {
    {"text is aligned", test_text},
    {"Markdown", test_markdown},
    {"CSV is quoted as RFC 4180 says", test_csv},
    {"a table without rows", test_no_rows},
    {"width counts characters, not bytes", test_width_counts_characters},
    {"many rows", test_many_rows},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/table", tests, sizeof tests / sizeof tests[0]);
}

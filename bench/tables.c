#include "tables.h"
#include "names.h"
#include "shown.h"

#include <stdlib.h>

static const char *const format_names[] = {
    [ATTN_TABLE_TEXT] = "text",
    [ATTN_TABLE_MARKDOWN] = "markdown",
    [ATTN_TABLE_CSV] = "csv",
};

static size_t format_count(void)
{
    return sizeof format_names / sizeof format_names[0];
}

static const char *format_name(size_t index)
{
    return format_names[index];
}

attn_status tables_format(const options *given, attn_table_format *out, attn_error *error)
{
    const name_table names = {"format", format_count, format_name, false, false};
    const char *text = option_text(given, OPTION_FORMAT);
    int_list list = {NULL, 0};
    attn_status status = parse_names(text, &names, &list, error);

    if (status == ATTN_OK && list.count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "--format %s: one name is accepted", shown_value(text).text);
    if (status == ATTN_OK)
        *out = (attn_table_format)list.values[0];
    free(list.values);
    return status;
}

attn_status metric_columns_read(const options *given, metric_columns *out, attn_error *error)
{
    int_list list = {NULL, 0};
    attn_status status;

    *out = (metric_columns){NULL, 0};
    if (!option_given(given, OPTION_METRIC))
        return ATTN_OK;
    status = parse_names(option_text(given, OPTION_METRIC), &names_metric, &list, error);
    if (status == ATTN_OK) {
        out->list = calloc((size_t)list.count, sizeof *out->list);
        if (out->list == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld metrics", (long long)list.count);
    }
    for (int64_t i = 0; status == ATTN_OK && i < list.count; i++)
        out->list[out->count++] = attn_metric_at((size_t)list.values[i]);
    free(list.values);
    return status;
}

void metric_columns_release(metric_columns *columns)
{
    free(columns->list);
    *columns = (metric_columns){NULL, 0};
}

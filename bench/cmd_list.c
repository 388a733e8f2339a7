/* attnbench list: the rows of the library's tables, and what this machine can run of them. */
#include "names.h"
#include "options.h"
#include "support.h"

#include <attn/metric.h>
#include <attn/phase.h>
#include <attn/plan.h>
#include <attn/probe.h>
#include <attn/study.h>

#include <stdio.h>

static const option_key keys[] = {OPTION_SUPPORT, OPTION_HELP};

static const option_set set = {
    .usage = "attnbench list [OPTION...]",
    .about = "Lists what this build offers: kernels and what of them this CPU can run, exchanges, layouts, combines,\n"
             "types, passes, the phases into which the time of a case is split, the metrics that are derived from it, "
             "and probes of "
             "the machine.\n",
    .examples = "  attnbench list\n"
                "  attnbench list --support\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
};

/* Prints a table under a heading and destroys it. */
static attn_status print_section(const char *heading, attn_table *table)
{
    attn_status status;

    printf("%s\n", heading);
    status = attn_table_print(table, ATTN_TABLE_TEXT, stdout);
    attn_table_destroy(table);
    return status;
}

/* "forward, decode, backward (float32, bfloat16)": the types where they are not all those of the forward pass.
 *   forward  in, [ATTN_DTYPE_COUNT] whether the kernel can run the forward pass here */
static void write_passes(const attn_kernel *kernel, const bool *forward, char *text, size_t size)
{
    size_t used =
        (size_t)snprintf(text, size, "%s, %s", attn_pass_name(ATTN_PASS_FORWARD), attn_pass_name(ATTN_PASS_DECODE));
    char types[64] = "";
    size_t length = 0;
    bool some = false, all = true;

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        const bool can = attn_kernel_available(kernel, ATTN_PASS_BACKWARD, (attn_dtype)dtype, NULL, 0);

        if (can)
            length += (size_t)snprintf(types + length, sizeof types - length, "%s%s", some ? ", " : "",
                                       attn_dtype_name((attn_dtype)dtype));
        some = some || can;
        all = all && can == forward[dtype];
    }
    if (some)
        snprintf(text + used, size - used, all ? ", %s" : ", %s (%s)", attn_pass_name(ATTN_PASS_BACKWARD), types);
}

static void add_kernel(attn_table *table, const attn_kernel *kernel)
{
    char reason[ATTN_MESSAGE_MAX] = "", passes[128] = "-";
    bool can[ATTN_DTYPE_COUNT], any = false;

    attn_table_cell(table, "%s", attn_kernel_name(kernel));
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        can[dtype] = attn_kernel_available(kernel, ATTN_PASS_FORWARD, (attn_dtype)dtype, reason, sizeof reason);
        any = any || can[dtype];
        attn_table_cell(table, "%s", can[dtype] ? "yes" : "no");
    }
    if (any)
        write_passes(kernel, can, passes, sizeof passes);
    attn_table_cell(table, "%s", passes);
    attn_table_cell(table, "%s", attn_kernel_peak(kernel) != NULL ? attn_kernel_peak(kernel) : "fma");
    attn_table_cell(table, "%s%s%s", attn_kernel_summary(kernel), any ? "" : "; not here: ", any ? "" : reason);
    attn_table_end_row(table);
}

static attn_status list_kernels(attn_error *error)
{
    char columns[256] = "<kernel";
    size_t used = 7;
    attn_table *table;
    attn_status status;

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        used += (size_t)snprintf(columns + used, sizeof columns - used, "|<%s", attn_dtype_name((attn_dtype)dtype));
    snprintf(columns + used, sizeof columns - used, "|<passes|<peak|<meaning");
    status = attn_table_create(columns, &table, error);
    if (status != ATTN_OK)
        return status;
    for (size_t i = 0; i < attn_kernel_count(); i++)
        add_kernel(table, attn_kernel_at(i));
    return print_section(
        "Kernels (--kernel); peak: the probe that bounds them, fma: multiply-adds of the widest vectors", table);
}

/* A table of names with their meaning. */
static attn_status list_names(const char *heading, size_t count, const char *(*name)(size_t),
                              const char *(*meaning)(size_t), attn_error *error)
{
    attn_table *table;
    attn_status status = attn_table_create("<name|<meaning", &table, error);

    if (status != ATTN_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        attn_table_cell(table, "%s", name(i));
        attn_table_cell(table, "%s", meaning(i));
        attn_table_end_row(table);
    }
    printf("\n");
    return print_section(heading, table);
}

static const char *exchange_meaning(size_t index)
{
    return attn_exchange_summary(attn_exchange_at(index));
}

static const char *transfer_meaning(size_t index)
{
    return attn_transfer_meaning((attn_transfer)(index + 1));
}

static const char *layout_meaning(size_t index)
{
    return attn_layout_summary(attn_layout_at(index));
}

static const char *combine_meaning(size_t index)
{
    return attn_combine_summary(attn_combine_at(index));
}

static const char *dtype_meaning(size_t index)
{
    static const char *const words[] = {
        [ATTN_FLOAT64] = "8 bytes, sums in float64",
        [ATTN_FLOAT32] = "4 bytes, sums in float32",
        [ATTN_FLOAT16] = "2 bytes (IEEE binary16), sums in float32",
        [ATTN_BFLOAT16] = "2 bytes (8 bits of exponent), sums in float32",
    };

    return words[index];
}

static const char *pass_meaning(size_t index)
{
    return attn_pass_meaning((attn_pass)index);
}

static const char *phase_name(size_t index)
{
    return attn_phase_name((attn_phase)index);
}

static const char *phase_meaning(size_t index)
{
    return attn_phase_meaning((attn_phase)index);
}

static const char *metric_name(size_t index)
{
    return attn_metric_name(attn_metric_at(index));
}

static const char *metric_meaning(size_t index)
{
    return attn_metric_summary(attn_metric_at(index));
}

static const char *probe_name(size_t index)
{
    return attn_probe_name(attn_probe_at(index));
}

static const char *probe_meaning(size_t index)
{
    return attn_probe_summary(attn_probe_at(index));
}

static attn_status print_lists(attn_error *error)
{
    attn_status status = list_kernels(error);

    if (status == ATTN_OK)
        status =
            list_names("Exchanges (--exchange)", attn_exchange_count(), names_exchange.name, exchange_meaning, error);
    if (status == ATTN_OK)
        status =
            list_names("Transfers (--transfer)", names_transfer.count(), names_transfer.name, transfer_meaning, error);
    if (status == ATTN_OK)
        status = list_names("Layouts (--layout)", attn_layout_count(), names_layout.name, layout_meaning, error);
    if (status == ATTN_OK)
        status = list_names("Combines (--combine)", attn_combine_count(), names_combine.name, combine_meaning, error);
    if (status == ATTN_OK)
        status = list_names("Types (--dtype)", ATTN_DTYPE_COUNT, names_dtype.name, dtype_meaning, error);
    if (status == ATTN_OK)
        status = list_names("Passes (--pass)", ATTN_PASS_COUNT, names_pass.name, pass_meaning, error);
    if (status == ATTN_OK)
        status = list_names("Phases of a case's time", ATTN_PHASE_COUNT, phase_name, phase_meaning, error);
    if (status == ATTN_OK)
        status = list_names("Metrics (--metric)", attn_metric_count(), metric_name, metric_meaning, error);
    if (status == ATTN_OK)
        status = list_names("Probes (attnbench probe)", attn_probe_count(), probe_name, probe_meaning, error);
    return status;
}

attn_status cmd_list(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    (void)wrong;
    if (status != ATTN_OK)
        return status;
    if (launch->rank == 0) {
        if (option_given(given, OPTION_HELP))
            options_help(&set);
        else
            status = option_given(given, OPTION_SUPPORT) ? support_print(error) : print_lists(error);
    }
    options_destroy(given);
    return status;
}

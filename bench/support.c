#include "support.h"

#include <attn/plan.h>
#include <attn/study.h>

#include <stdio.h>
#include <string.h>

enum { REASONS_MAX = 64 };

/* A question to an exchange: a problem, a number of ranks and what is asked of the plan. */
typedef struct question {
    const char *heading;
    int ranks;
    void (*set)(attn_problem *problem, attn_plan_options *options);
} question;

static void ask_forward(attn_problem *problem, attn_plan_options *options)
{
    (void)problem, (void)options;
}

static void ask_backward(attn_problem *problem, attn_plan_options *options)
{
    (void)problem;
    options->pass = ATTN_PASS_BACKWARD;
}

static void ask_decode(attn_problem *problem, attn_plan_options *options)
{
    problem->shape.seq = 1;
    options->pass = ATTN_PASS_DECODE;
}

static void ask_dropout(attn_problem *problem, attn_plan_options *options)
{
    (void)options;
    problem->dropout = 0.1;
}

static void ask_causal(attn_problem *problem, attn_plan_options *options)
{
    (void)options;
    problem->mask.causal = true;
}

static void ask_window(attn_problem *problem, attn_plan_options *options)
{
    (void)options;
    problem->mask.window_left = 8;
}

static void ask_padding(attn_problem *problem, attn_plan_options *options)
{
    static const int64_t kv_len[] = {40};

    (void)options;
    problem->mask.kv_len = kv_len;
}

static void ask_documents(attn_problem *problem, attn_plan_options *options)
{
    static const int64_t starts[] = {0, 20, 64};

    (void)options;
    problem->mask.cu_seqlens = starts;
    problem->mask.documents = 2;
}

static void ask_bfloat16(attn_problem *problem, attn_plan_options *options)
{
    (void)options;
    problem->dtype = ATTN_BFLOAT16;
}

static void ask_groups(attn_problem *problem, attn_plan_options *options)
{
    (void)options;
    problem->shape.kv_heads = 2;
}

static void ask_few_heads(attn_problem *problem, attn_plan_options *options)
{
    (void)options;
    problem->shape.heads = problem->shape.kv_heads = 1;
}

static void ask_few_rows(attn_problem *problem, attn_plan_options *options)
{
    (void)options;
    problem->shape.seq = problem->shape.kv_seq = 3;
}

static void ask_nodes(attn_problem *problem, attn_plan_options *options)
{
    (void)problem;
    options->node_ranks = 2;
}

static const question questions[] = {
    {"forward", 4, ask_forward}, {"backward", 4, ask_backward},   {"decode", 4, ask_decode},
    {"dropout", 4, ask_dropout}, {"causal", 4, ask_causal},       {"window", 4, ask_window},
    {"padding", 4, ask_padding}, {"documents", 4, ask_documents}, {"bfloat16", 4, ask_bfloat16},
    {"Hkv < Hq", 4, ask_groups}, {"P > Hq", 4, ask_few_heads},    {"P > S", 4, ask_few_rows},
    {"P prime", 7, ask_forward}, {"P 1", 1, ask_forward},         {"2 nodes", 4, ask_nodes},
};

enum { QUESTION_COUNT = sizeof questions / sizeof questions[0] };

/* "yes", or "no" with the number of its reason, which is kept once. */
static void answer(attn_table *table, const attn_exchange *exchange, const attn_layout *layout, const question *asked,
                   char reasons[REASONS_MAX][ATTN_MESSAGE_MAX], int *count)
{
    attn_problem problem = attn_problem_init((attn_shape){1, 8, 8, 64, 64, 16, 16}, ATTN_FLOAT32);
    attn_plan_options options = {.grid = {asked->ranks, 1}, .exchange = exchange, .layout = layout};
    attn_error error = ATTN_ERROR_INIT;
    attn_plan plan;
    int n = 0;

    asked->set(&problem, &options);
    if (strcmp(attn_exchange_name(exchange), "none") == 0)
        options.grid = (attn_grid){1, asked->ranks};
    if (attn_plan_make(&problem, asked->ranks, &options, &plan, &error) == ATTN_OK) {
        attn_table_cell(table, "yes");
        return;
    }
    while (n < *count && strcmp(reasons[n], error.message) != 0)
        n++;
    if (n == *count && n < REASONS_MAX)
        memcpy(reasons[(*count)++], error.message, sizeof error.message);
    attn_table_cell(table, "no (%d)", n + 1);
}

static void list_transfers(attn_table *table, const attn_exchange *exchange)
{
    char names[128] = "-";
    size_t length = 0;

    for (int t = ATTN_TRANSFER_AUTO + 1; t < ATTN_TRANSFER_COUNT; t++)
        if (attn_exchange_transfers(exchange, (attn_transfer)t))
            length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", length > 0 ? ", " : "",
                                       attn_transfer_name((attn_transfer)t));
    attn_table_cell(table, "%s", names);
}

attn_status support_print(attn_error *error)
{
    static char reasons[REASONS_MAX][ATTN_MESSAGE_MAX];
    char columns[512] = "<exchange";
    size_t length = strlen(columns);
    attn_table *table;
    attn_status status;
    int count = 0;

    for (int q = 0; q < QUESTION_COUNT; q++)
        length += (size_t)snprintf(columns + length, sizeof columns - length, "|<%s", questions[q].heading);
    for (size_t l = 0; l < attn_layout_count(); l++)
        length +=
            (size_t)snprintf(columns + length, sizeof columns - length, "|<%s", attn_layout_name(attn_layout_at(l)));
    snprintf(columns + length, sizeof columns - length, "|<transfers");
    status = attn_table_create(columns, &table, error);
    if (status != ATTN_OK)
        return status;
    for (size_t e = 0; e < attn_exchange_count(); e++) {
        const attn_exchange *exchange = attn_exchange_at(e);

        attn_table_cell(table, "%s", attn_exchange_name(exchange));
        for (int q = 0; q < QUESTION_COUNT; q++)
            answer(table, exchange, NULL, &questions[q], reasons, &count);
        for (size_t l = 0; l < attn_layout_count(); l++)
            answer(table, exchange, attn_layout_at(l), &questions[0], reasons, &count);
        list_transfers(table, exchange);
        attn_table_end_row(table);
    }
    printf("What each exchange can be used with, as a plan answers it (4 ranks, float32, 8 heads of 64 rows, where not "
           "said)\n\n");
    status = attn_table_print(table, ATTN_TABLE_TEXT, stdout);
    attn_table_destroy(table);
    for (int n = 0; n < count; n++)
        printf("%s(%d) %s\n", n == 0 ? "\n" : "", n + 1, reasons[n]);
    return status;
}

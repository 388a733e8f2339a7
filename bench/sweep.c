#include "sweep.h"
#include "names.h"
#include "shown.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const scaling_names[] = {
    [SCALING_STRONG] = "strong",
    [SCALING_WEAK_SEQ] = "weak-seq",
    [SCALING_WEAK_BATCH] = "weak-batch",
    [SCALING_WEAK_WORK] = "weak-work",
};

static size_t scaling_count(void)
{
    return sizeof scaling_names / sizeof scaling_names[0];
}

static const char *scaling_name(size_t index)
{
    return scaling_names[index];
}

const char *sweep_scaling_name(sweep_scaling scaling)
{
    return scaling_names[scaling];
}

static const struct {
    sweep_axis axis;
    option_key key;
    number_kind kind;
    int64_t absent; /* the value when the option has no default and was not given */
} integer_axes[] = {
    {AXIS_BATCH, OPTION_BATCH, NUMBER_POSITIVE, 0},
    {AXIS_HEADS, OPTION_HEADS, NUMBER_POSITIVE, 0},
    {AXIS_KV_HEADS, OPTION_KV_HEADS, NUMBER_POSITIVE, 0},
    {AXIS_SEQ, OPTION_SEQ, NUMBER_POSITIVE, 0},
    {AXIS_KV_SEQ, OPTION_KV_SEQ, NUMBER_POSITIVE, 0},
    {AXIS_HEAD_DIM, OPTION_HEAD_DIM, NUMBER_POSITIVE, 0},
    {AXIS_V_HEAD_DIM, OPTION_V_HEAD_DIM, NUMBER_POSITIVE, 0},
    {AXIS_WINDOW_LEFT, OPTION_WINDOW_LEFT, NUMBER_LIMIT, 0},
    {AXIS_WINDOW_RIGHT, OPTION_WINDOW_RIGHT, NUMBER_LIMIT, 0},
    {AXIS_THREADS, OPTION_THREADS, NUMBER_POSITIVE, 0},
    {AXIS_RANKS, OPTION_RANKS, NUMBER_POSITIVE, 0},
};

static const struct {
    sweep_axis axis;
    option_key key;
    const name_table *names;
} name_axes[] = {
    {AXIS_DTYPE, OPTION_DTYPE, &names_dtype},          {AXIS_KERNEL, OPTION_KERNEL, &names_kernel},
    {AXIS_EXCHANGE, OPTION_EXCHANGE, &names_exchange}, {AXIS_LAYOUT, OPTION_LAYOUT, &names_layout},
    {AXIS_COMBINE, OPTION_COMBINE, &names_combine},    {AXIS_TRANSFER, OPTION_TRANSFER, &names_transfer},
    {AXIS_INNER, OPTION_INNER, &names_inner},
};

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static attn_status read_lists(const options *given, sweep *out, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (size_t i = 0; status == ATTN_OK && i < LENGTH(integer_axes); i++) {
        int_list *list = &out->axes[integer_axes[i].axis];
        const char *text = option_text(given, integer_axes[i].key);

        status = text != NULL
                     ? parse_integers(option_label(integer_axes[i].key), text, integer_axes[i].kind, list, error)
                     : int_list_append(list, integer_axes[i].absent, error);
    }
    for (size_t i = 0; status == ATTN_OK && i < LENGTH(name_axes); i++) {
        int_list *list = &out->axes[name_axes[i].axis];
        const char *text = option_text(given, name_axes[i].key);

        status =
            text != NULL ? parse_names(text, name_axes[i].names, list, error) : int_list_append(list, NAME_AUTO, error);
    }
    return status;
}

/* "auto" or "2x4". */
static bool read_grid(char *item, attn_grid *grid)
{
    char *x = strchr(item, 'x');
    int64_t seq, head;

    *grid = (attn_grid){0, 0};
    if (strcmp(item, "auto") == 0)
        return true;
    if (x == NULL)
        return false;
    *x = '\0';
    if (parse_integer("", item, NUMBER_POSITIVE, &seq, NULL) != ATTN_OK ||
        parse_integer("", x + 1, NUMBER_POSITIVE, &head, NULL) != ATTN_OK || seq > INT_MAX || head > INT_MAX / seq)
        return false;
    *grid = (attn_grid){(int)seq, (int)head};
    return true;
}

/* A list of two factors, PSxPH or PUxPR. */
static attn_status read_grids(const options *given, option_key key, const char *factors, attn_grid **list,
                              int_list *axis, attn_error *error)
{
    const char *text = option_text(given, key), *rest = text;
    attn_status status = ATTN_OK;

    for (int64_t i = 0; status == ATTN_OK && rest != NULL; i++) {
        char item[64];
        attn_grid grid, *grids;

        if (parse_item(&rest, item, sizeof item) >= sizeof item || !read_grid(item, &grid))
            return attn_error_set(error, ATTN_ARGUMENT, "%s %s: %s such as 2x4, a list of them or auto is accepted",
                                  option_label(key), shown_value(text).text, factors);
        grids = realloc(*list, ((size_t)i + 1) * sizeof *grids);
        if (grids == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for the grids");
        *list = grids;
        grids[i] = grid;
        status = int_list_append(axis, i, error);
    }
    return status;
}

/* Axes whose values are indices into a list of their own. */
static attn_status read_indexed(const options *given, sweep *out, attn_error *error)
{
    attn_status status = parse_reals(option_label(OPTION_SOFTCAP), option_text(given, OPTION_SOFTCAP),
                                     REAL_NOT_NEGATIVE, &out->softcaps, error);

    if (status == ATTN_OK)
        status = documents_parse(option_label(OPTION_DOCUMENTS), option_text(given, OPTION_DOCUMENTS), &out->documents,
                                 error);
    if (status == ATTN_OK)
        status = parse_reals(option_label(OPTION_DROPOUT), option_text(given, OPTION_DROPOUT), REAL_NOT_NEGATIVE,
                             &out->dropouts, error);
    for (int64_t i = 0; status == ATTN_OK && i < out->dropouts.count; i++)
        status = int_list_append(&out->axes[AXIS_DROPOUT], i, error);
    for (int64_t i = 0; status == ATTN_OK && i < out->softcaps.count; i++)
        status = int_list_append(&out->axes[AXIS_SOFTCAP], i, error);
    for (int64_t i = 0; status == ATTN_OK && i < out->documents.count; i++)
        status = int_list_append(&out->axes[AXIS_DOCUMENTS], i, error);
    if (status == ATTN_OK)
        status = read_grids(given, OPTION_GRID, "PSxPH", &out->grids, &out->axes[AXIS_GRID], error);
    return status != ATTN_OK ? status
                             : read_grids(given, OPTION_HYBRID, "PUxPR", &out->hybrids, &out->axes[AXIS_HYBRID], error);
}

static attn_status read_single(const options *given, sweep *out, attn_error *error)
{
    const name_table names = {"scaling", scaling_count, scaling_name, false, false};
    int_list scaling = {NULL, 0}, plan = {NULL, 0};
    int64_t seed = 0, node_ranks = 0;
    attn_status status = options_pass(given, &out->pass, error);

    if (status == ATTN_OK)
        status = parse_names(option_text(given, OPTION_SCALING), &names, &scaling, error);

    if (status == ATTN_OK && scaling.count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "--scaling %s: one name is accepted",
                                shown_value(option_text(given, OPTION_SCALING)).text);
    if (status == ATTN_OK)
        out->scaling = (sweep_scaling)scaling.values[0];
    free(scaling.values);
    if (status == ATTN_OK)
        status = parse_names(option_text(given, OPTION_PLAN), &names_plan, &plan, error);
    if (status == ATTN_OK && plan.count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "--plan %s: one name is accepted",
                                shown_value(option_text(given, OPTION_PLAN)).text);
    if (status == ATTN_OK)
        out->plan = (attn_plan_mode)plan.values[0];
    free(plan.values);
    if (status == ATTN_OK)
        status = option_integer(given, OPTION_SEED, NUMBER_COUNT, &seed, error);
    out->seed = (uint64_t)seed;
    if (status == ATTN_OK && option_given(given, OPTION_NODE_RANKS))
        status = option_integer(given, OPTION_NODE_RANKS, NUMBER_POSITIVE, &node_ranks, error);
    out->node_ranks = node_ranks < INT_MAX ? (int)node_ranks : INT_MAX;
    out->scale_given = option_given(given, OPTION_SCALE);
    if (status == ATTN_OK && out->scale_given)
        status = option_real(given, OPTION_SCALE, REAL_ANY, &out->scale, error);
    out->causal = option_given(given, OPTION_CAUSAL);
    out->deterministic = option_given(given, OPTION_DETERMINISTIC);
    out->alibi = option_given(given, OPTION_ALIBI);
    out->sinks = option_given(given, OPTION_SINKS);
    return status;
}

static attn_status check_counts(sweep *out, int ranks, attn_error *error)
{
    const int_list *list = &out->axes[AXIS_RANKS], *threads = &out->axes[AXIS_THREADS];

    for (int64_t i = 0; i < list->count; i++) {
        if (list->values[i] == 0)
            list->values[i] = ranks;
        if (list->values[i] > ranks)
            return attn_error_set(error, ATTN_ARGUMENT,
                                  "--ranks %lld: this launch has %d rank%s; 1 to %d is accepted, more with mpirun -n",
                                  (long long)list->values[i], ranks, ranks > 1 ? "s" : "", ranks);
    }
    for (int64_t i = 0; i < threads->count; i++)
        if (threads->values[i] > SHRT_MAX)
            return attn_error_set(error, ATTN_ARGUMENT, "--threads %lld: 1 to %d is accepted",
                                  (long long)threads->values[i], SHRT_MAX);
    out->count = 1;
    for (int axis = 0; axis < AXIS_COUNT; axis++) {
        if (out->axes[axis].count > SWEEP_MAX / out->count)
            return attn_error_set(error, ATTN_ARGUMENT, "a sweep of more than %d cases; shorter lists are accepted",
                                  SWEEP_MAX);
        out->count *= out->axes[axis].count;
    }
    return ATTN_OK;
}

attn_status sweep_read(const options *given, int ranks, sweep *out, attn_error *error)
{
    attn_status status;

    memset(out, 0, sizeof *out);
    status = read_lists(given, out, error);
    if (status == ATTN_OK)
        status = read_indexed(given, out, error);
    if (status == ATTN_OK)
        status = read_single(given, out, error);
    return status != ATTN_OK ? status : check_counts(out, ranks, error);
}

void sweep_release(sweep *lists)
{
    for (int axis = 0; axis < AXIS_COUNT; axis++)
        free(lists->axes[axis].values);
    free(lists->softcaps.values);
    free(lists->dropouts.values);
    free(lists->documents.laws);
    free(lists->grids);
    free(lists->hybrids);
    memset(lists, 0, sizeof *lists);
}

sweep_point sweep_at(const sweep *lists, int64_t index)
{
    sweep_point point;

    for (int axis = AXIS_COUNT - 1; axis >= 0; axis--) {
        const int_list *list = &lists->axes[axis];

        point.at[axis] = list->values[index % list->count];
        index /= list->count;
    }
    return point;
}

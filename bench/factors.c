#include "case.h"
#include "filling.h"
#include "names.h"

#include <stdio.h>

/* What was asked for, where no plan was made. */
static const char *asked(const name_table *names, int64_t index)
{
    return index == NAME_AUTO ? "auto" : names->name((size_t)index);
}

static void put_problem(filling *to, const bench_case *one, bool alibi, bool sinks)
{
    const attn_problem *problem = &one->problem;
    const attn_shape *shape = &problem->shape;
    const attn_mask *mask = &problem->mask;

    put_integer(to, "batch", shape->batch);
    put_integer(to, "heads", shape->heads);
    put_integer(to, "kv_heads", shape->kv_heads);
    put_integer(to, "seq", shape->seq);
    put_integer(to, "kv_seq", shape->kv_seq);
    put_integer(to, "head_dim", shape->head_dim);
    put_integer(to, "v_head_dim", shape->v_head_dim);
    put_text(to, "dtype", attn_dtype_name(problem->dtype));
    put_integer(to, "causal", mask->causal);
    put_integer(to, "window_left", mask->window_left);
    put_integer(to, "window_right", mask->window_right);
    put_real(to, "softcap", problem->score.softcap);
    put_real(to, "scale", problem->score.scale);
    put_integer(to, "alibi", alibi);
    put_integer(to, "sinks", sinks);
    put_integer(to, "documents", one->documents);
    if (problem->dropout > 0) /* without it the names of cases stay as they were before there was dropout */
        put_real(to, "dropout", problem->dropout);
}

/* What an exchange leaves open, where it does. */
static void put_way(filling *to, const attn_plan *plan)
{
    char hybrid[32];

    if (plan->ranks == 0)
        return;
    if (plan->transfer != ATTN_TRANSFER_AUTO)
        put_text(to, "transfer", attn_transfer_name(plan->transfer));
    if (plan->hybrid.alltoall == 0)
        return;
    snprintf(hybrid, sizeof hybrid, "%dx%d", plan->hybrid.alltoall, plan->hybrid.ring);
    put_text(to, "hybrid", hybrid);
    put_text(to, "inner", plan->hybrid.ring_inside ? "ring" : "alltoall");
}

attn_status bench_case_factors(const bench_case *one, const sweep *lists, const case_input *input,
                               attn_attributes *factors)
{
    const int64_t *at = one->point.at;
    const document_law *law = &lists->documents.laws[at[AXIS_DOCUMENTS]];
    const attn_plan *plan = &one->plan;
    const bool planned = plan->ranks > 0;
    const attn_grid grid = planned ? plan->grid : lists->grids[at[AXIS_GRID]];
    const attn_score *score = &one->problem.score;
    const bool generated = input->path == NULL;
    filling to = {factors, ATTN_OK};

    /* What was asked for: a case that is refused early has no arrays. */
    put_problem(&to, one, generated ? lists->alibi : score->alibi_slopes != NULL,
                generated ? lists->sinks : score->sinks != NULL);
    if (generated && law->kind != DOCUMENTS_OFF && law->kind != DOCUMENTS_COUNT)
        put_text(&to, "document_lengths", law->text); /* as many documents may have other lengths */
    put_text(&to, "input", input->name);
    if (!generated)
        put_text(&to, "input_digest", input->digest); /* files of one name may differ */
    if (!generated && one->problem.dropout > 0)
        put_integer(&to, "dropout_seed", (int64_t)one->problem.dropout_seed); /* otherwise it is the seed */
    put_text(&to, "pass", attn_pass_name(lists->pass));
    put_text(&to, "kernel", planned ? attn_kernel_name(plan->kernel) : asked(&names_kernel, at[AXIS_KERNEL]));
    put_text(&to, "exchange", planned ? attn_exchange_name(plan->exchange) : asked(&names_exchange, at[AXIS_EXCHANGE]));
    put_way(&to, plan);
    put_integer(&to, "grid_seq", grid.seq);
    put_integer(&to, "grid_head", grid.head);
    put_text(&to, "layout", planned ? attn_layout_name(plan->layout) : asked(&names_layout, at[AXIS_LAYOUT]));
    put_text(&to, "combine", asked(&names_combine, at[AXIS_COMBINE]));
    if (lists->deterministic)
        put_integer(&to, "deterministic", 1);
    put_integer(&to, "ranks", one->group->ranks);
    put_integer(&to, "threads", one->threads);
    put_integer(&to, "seed", (int64_t)lists->seed);
    put_text(&to, "scaling", sweep_scaling_name(lists->scaling));
    return to.status;
}

attn_status bench_case_asked(const bench_case *one, const sweep *lists, const case_input *input, char id[ATTN_ID_SIZE],
                             attn_error *error)
{
    bench_case unplanned = *one;
    attn_attributes *factors;
    attn_status status = attn_attributes_create(&factors, error);

    if (status != ATTN_OK)
        return status;
    unplanned.plan.ranks = 0;
    status = bench_case_factors(&unplanned, lists, input, factors);
    if (status == ATTN_OK)
        status = attn_attributes_set_text(factors, "plan", attn_plan_mode_name(lists->plan));
    if (status == ATTN_OK)
        attn_attributes_id(factors, id);
    attn_attributes_destroy(factors);
    return status == ATTN_OK ? ATTN_OK : attn_error_set(error, status, "no memory for the factors of a case");
}

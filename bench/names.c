#include "names.h"

#include <attn/metric.h>
#include <attn/planner.h>
#include <attn/probe.h>

static size_t dtype_count(void)
{
    return ATTN_DTYPE_COUNT;
}

static const char *dtype_name(size_t index)
{
    return attn_dtype_name((attn_dtype)index);
}

static const char *kernel_name(size_t index)
{
    return attn_kernel_name(attn_kernel_at(index));
}

static const char *exchange_name(size_t index)
{
    return attn_exchange_name(attn_exchange_at(index));
}

static const char *layout_name(size_t index)
{
    return attn_layout_name(attn_layout_at(index));
}

static const char *combine_name(size_t index)
{
    return attn_combine_name(attn_combine_at(index));
}

/* Without auto, which stands before them. */
static size_t transfer_count(void)
{
    return ATTN_TRANSFER_COUNT - 1;
}

static const char *transfer_name(size_t index)
{
    return attn_transfer_name((attn_transfer)(index + 1));
}

static size_t inner_count(void)
{
    return 2;
}

static const char *inner_name(size_t index)
{
    return index == 0 ? "alltoall" : "ring";
}

static size_t pass_count(void)
{
    return ATTN_PASS_COUNT;
}

static const char *pass_name(size_t index)
{
    return attn_pass_name((attn_pass)index);
}

static const char *probe_name(size_t index)
{
    return attn_probe_name(attn_probe_at(index));
}

static const char *metric_name(size_t index)
{
    return attn_metric_name(attn_metric_at(index));
}

static size_t plan_count(void)
{
    return ATTN_PLAN_MODE_COUNT;
}

static const char *plan_name(size_t index)
{
    return attn_plan_mode_name((attn_plan_mode)index);
}

const name_table names_dtype = {"dtype", dtype_count, dtype_name, false, true};
const name_table names_kernel = {"kernel", attn_kernel_count, kernel_name, true, true};
const name_table names_exchange = {"exchange", attn_exchange_count, exchange_name, true, true};
const name_table names_layout = {"layout", attn_layout_count, layout_name, true, true};
const name_table names_combine = {"combine", attn_combine_count, combine_name, false, true};
const name_table names_transfer = {"transfer", transfer_count, transfer_name, true, true};
const name_table names_inner = {"inner", inner_count, inner_name, false, true};
const name_table names_pass = {"pass", pass_count, pass_name, false, false};
const name_table names_probe = {"probe", attn_probe_count, probe_name, false, true};
const name_table names_plan = {"plan", plan_count, plan_name, false, false};
const name_table names_metric = {"metric", attn_metric_count, metric_name, false, true};

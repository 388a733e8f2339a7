/* The table of probes: a new one is one line here and one file. The peaks of a type stand in rising width. */
#include "measure/probe.h"

#include <stdio.h>
#include <string.h>

#define PROBE_LIST(X)                                                                                                  \
    X(fma_float)                                                                                                       \
    X(fma_float_avx2)                                                                                                  \
    X(fma_float_avx512)                                                                                                \
    X(fma_double)                                                                                                      \
    X(fma_double_avx2)                                                                                                 \
    X(fma_double_avx512)                                                                                               \
    X(l1)                                                                                                              \
    X(l1_avx2)                                                                                                         \
    X(l1_avx512)                                                                                                       \
    X(bf16)                                                                                                            \
    X(amx)                                                                                                             \
    X(exp)                                                                                                             \
    X(exp_avx2)                                                                                                        \
    X(exp_avx512)                                                                                                      \
    X(read)                                                                                                            \
    X(copy)

#define DECLARE_PROBE(name) extern const attn_probe attn_probe_##name;
PROBE_LIST(DECLARE_PROBE)

static const attn_probe *const probes[] = {
#define PROBE_ROW(name) &attn_probe_##name,
    PROBE_LIST(PROBE_ROW)};

size_t attn_probe_count(void)
{
    return sizeof probes / sizeof probes[0];
}

const attn_probe *attn_probe_at(size_t index)
{
    return probes[index];
}

const attn_probe *attn_probe_find(const char *name)
{
    for (size_t i = 0; i < attn_probe_count(); i++)
        if (strcmp(probes[i]->name, name) == 0)
            return probes[i];
    return NULL;
}

const char *attn_probe_name(const attn_probe *probe)
{
    return probe->name;
}

const char *attn_probe_summary(const attn_probe *probe)
{
    return probe->summary;
}

const char *attn_probe_unit(const attn_probe *probe)
{
    return probe->unit;
}

const char *attn_probe_needs(const attn_probe *probe)
{
    return probe->needs;
}

bool attn_probe_available(const attn_probe *probe, char *reason, size_t size)
{
    const bool has = probe->cpu_has();

    if (!has && reason != NULL)
        snprintf(reason, size, "this CPU or build lacks %s", probe->needs);
    return has;
}

const attn_probe *attn_probe_peak(attn_dtype dtype)
{
    const attn_dtype accumulator = attn_dtype_accumulator(dtype);
    const attn_probe *widest = probes[0];

    for (size_t i = 0; i < attn_probe_count(); i++)
        if (probes[i]->peak_of == accumulator && attn_probe_available(probes[i], NULL, 0))
            widest = probes[i];
    return widest;
}

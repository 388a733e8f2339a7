/* The table of kernels, slowest first: a new one is one line here and one file. */
#include "kernel/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_LIST(X)                                                                                                 \
    X(reference)                                                                                                       \
    X(portable)                                                                                                        \
    X(portable_avx2)                                                                                                   \
    X(portable_avx512)                                                                                                 \
    X(avx512_bf16)                                                                                                     \
    X(amx_bf16)

#define DECLARE_KERNEL(name) extern const attn_kernel attn_kernel_##name;
KERNEL_LIST(DECLARE_KERNEL)

static const attn_kernel *const kernels[] = {
#define KERNEL_ROW(name) &attn_kernel_##name,
    KERNEL_LIST(KERNEL_ROW)};

size_t attn_kernel_count(void)
{
    return sizeof kernels / sizeof kernels[0];
}

const attn_kernel *attn_kernel_at(size_t index)
{
    return kernels[index];
}

const attn_kernel *attn_kernel_find(const char *name)
{
    for (size_t i = 0; i < attn_kernel_count(); i++)
        if (strcmp(kernels[i]->name, name) == 0)
            return kernels[i];
    return NULL;
}

const char *attn_kernel_name(const attn_kernel *kernel)
{
    return kernel->name;
}

const char *attn_kernel_summary(const attn_kernel *kernel)
{
    return kernel->summary;
}

const char *attn_kernel_peak(const attn_kernel *kernel)
{
    return kernel->peak;
}

bool attn_kernel_available(const attn_kernel *kernel, attn_pass pass, attn_dtype dtype, char *reason, size_t size)
{
    if (!kernel->cpu_has()) {
        if (reason != NULL)
            snprintf(reason, size, "this CPU or build lacks %s", kernel->needs);
        return false;
    }
    if (kernel->forward[dtype] == NULL) {
        if (reason != NULL)
            snprintf(reason, size, "it has no %s instance", attn_dtype_name(dtype));
        return false;
    }
    if (pass == ATTN_PASS_BACKWARD && kernel->backward[dtype] == NULL) {
        if (reason != NULL)
            snprintf(reason, size, "it has no backward pass for %s", attn_dtype_name(dtype));
        return false;
    }
    return true;
}

bool attn_kernel_computes(const attn_kernel *kernel, attn_pass pass, const attn_problem *problem, char *reason,
                          size_t size)
{
    if (!attn_kernel_available(kernel, pass, problem->dtype, reason, size))
        return false;
    if (problem->dropout > 0 && !kernel->dropout) {
        if (reason != NULL)
            snprintf(reason, size, "it has no dropout");
        return false;
    }
    return true;
}

int64_t attn_kernel_key_block(const attn_kernel *kernel)
{
    return kernel->key_block;
}

static const attn_kernel *find_best(attn_pass pass, attn_dtype dtype, bool dropout)
{
    for (size_t i = attn_kernel_count(); i-- > 0;)
        if (attn_kernel_available(kernels[i], pass, dtype, NULL, 0) && (kernels[i]->dropout || !dropout) &&
            (kernels[i]->cpu_prefers == NULL || kernels[i]->cpu_prefers()))
            return kernels[i];
    return kernels[0];
}

const attn_kernel *attn_kernel_best(attn_pass pass, attn_dtype dtype)
{
    return find_best(pass, dtype, false);
}

/* "reference, portable, ..." */
static void write_names(char *text, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < attn_kernel_count() && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s, ", kernels[i]->name);
}

attn_status attn_kernel_choose(attn_pass pass, attn_dtype dtype, bool dropout, const attn_kernel **out,
                               attn_error *error)
{
    const char *const name = getenv("ATTN_KERNEL");
    const attn_kernel *named;
    char names[256];

    if (name == NULL || *name == '\0' || strcmp(name, "auto") == 0) {
        *out = find_best(pass, dtype, dropout);
        return ATTN_OK;
    }
    named = attn_kernel_find(name);
    if (named == NULL) {
        write_names(names, sizeof names);
        return attn_error_set(error, ATTN_ARGUMENT, "ATTN_KERNEL=%.60s: %sauto is accepted", name, names);
    }
    *out = named;
    return ATTN_OK;
}

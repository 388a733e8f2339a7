/* The table of kernels, slowest first: a new one is one line here and one file. */
#include "kernel/kernel.h"

#include <stdio.h>
#include <string.h>

#define KERNEL_LIST(X)                                                                                                 \
    X(reference)                                                                                                       \
    X(portable)                                                                                                        \
    X(portable_avx2)                                                                                                   \
    X(portable_avx512)

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

bool attn_kernel_available(const attn_kernel *kernel, attn_pass pass, attn_dtype dtype, char *reason, size_t size)
{
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
    if (!kernel->cpu_has()) {
        if (reason != NULL)
            snprintf(reason, size, "this CPU or build lacks %s", kernel->needs);
        return false;
    }
    return true;
}

const attn_kernel *attn_kernel_best(attn_pass pass, attn_dtype dtype)
{
    for (size_t i = attn_kernel_count(); i-- > 0;)
        if (attn_kernel_available(kernels[i], pass, dtype, NULL, 0))
            return kernels[i];
    return kernels[0];
}

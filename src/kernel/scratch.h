/* Scratch memory of the threads of a pass: each thread's lies where that thread touched it first. */
#ifndef KERNEL_SCRATCH_H
#define KERNEL_SCRATCH_H

#include <attn/kernel.h>

/* Sees to it that each of `threads` threads has at least so many bytes, with the team that will use them. What was
 * handed out before is no longer valid. ATTN_MEMORY; ATTN_UNSUPPORTED when OpenMP does not grant the threads. */
attn_status attn_scratch_reserve(attn_scratch *scratch, int threads, size_t bytes, attn_error *error);

/* The bytes of one thread, 64-byte aligned. */
char *attn_scratch_at(const attn_scratch *scratch, int thread);

/* A pass's scratch: that of its setup, or a new one that *own keeps for attn_scratch_destroy (NULL otherwise). */
attn_status attn_scratch_take(attn_scratch *shared, int threads, size_t bytes, attn_scratch **out, attn_scratch **own,
                              attn_error *error);

/* Makes progress when the thread is the calling one. */
static inline void attn_progress_make(const attn_progress *progress, int thread)
{
    if (thread == 0 && progress->make != NULL)
        progress->make(progress->context);
}

#endif

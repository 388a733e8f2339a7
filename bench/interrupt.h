/* Being asked to stop: SIGINT, SIGTERM and SIGUSR1 (SLURM's early warning) end a sweep after what is finished. */
#ifndef BENCH_INTERRUPT_H
#define BENCH_INTERRUPT_H

#include <attn/status.h>

#include <stdbool.h>

/* From now on these signals are noted instead of ending the process. */
void interrupt_watch(void);

/* From now on they end the process, as they would have without interrupt_watch. */
void interrupt_forget(void);

/* The signal's name when one came to this process ("SIGUSR1"), or NULL. */
const char *interrupt_name(void);

#endif

/* How much memory this process's node can still give it. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

/* Bytes: the least of what the kernel says is available and of what the limits of this process's control group and of
 * those above it leave (SLURM and containers set them), file cache that can be dropped not counted as used. Infinite
 * where nothing is told. */
double memory_available(void);

#endif

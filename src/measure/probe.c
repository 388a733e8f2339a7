/* Rounds of a probe. The number of passes is doubled until a round is long enough, which warms the CPU up besides: wide
 * vector units and higher clock rates take milliseconds to switch on. */
#include "measure/probe.h"

#include "measure/median.h"

#include <attn/phase.h>

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>

#define LONG_ROUND 0.025 /* s, long enough for any probe */

enum { ROUNDS_MIN = 3, ROUNDS_MAX = 512 };

/* One round on all threads: seconds from the first start to the last end. The threads wait for each other awake, as to
 * wake one takes a good part of a short round.
 *   team  out, threads that there were */
static double time_round(const attn_probe_work *work, int threads, int64_t passes, int *team)
{
    atomic_int arrived = 0;
    double begin = INFINITY, end = 0;
    int count = 0;

#pragma omp parallel num_threads(threads) reduction(+ : count) reduction(min : begin) reduction(max : end)
    {
        count += 1;
        atomic_fetch_add(&arrived, 1);
        while (atomic_load(&arrived) < omp_get_num_threads())
            sched_yield();
        begin = attn_clock();
        work->pass(work->context, omp_get_thread_num(), passes);
        end = attn_clock();
    }
    *team = count;
    return end - begin;
}

/* What disturbs a round makes it longer, never shorter: one that is too short tells that all before were, too. */
attn_status attn_probe_time(const attn_probe_work *work, const attn_probe_setup *setup, attn_probe_result *out,
                            attn_error *error)
{
    const double least = fmin(LONG_ROUND, setup->seconds / 16), begin = attn_clock();
    double rates[ROUNDS_MAX], time = 0;
    int64_t passes = 1;
    size_t rounds = 0;

    do {
        int team;
        const double seconds = time_round(work, setup->threads, passes, &team);

        if (team < setup->threads)
            return attn_error_set(error, ATTN_UNSUPPORTED, "threads %d: OpenMP grants %d here", setup->threads, team);
        if (seconds < least) {
            passes *= 2;
            rounds = 0;
            time = 0;
        } else {
            rates[rounds++] = work->amount * (double)passes * setup->threads / seconds;
            time += seconds;
        }
    } while (rounds < ROUNDS_MIN || (rounds < ROUNDS_MAX && attn_clock() - begin < setup->seconds));
    out->mean = work->amount * (double)passes * setup->threads * (double)rounds / time;
    attn_values_sort(rates, rounds);
    out->best = rates[rounds - 1];
    out->median = attn_quantile(rates, rounds, 0.5);
    out->rounds = (int64_t)rounds;
    return ATTN_OK;
}

attn_status attn_probe_run(const attn_probe *probe, const attn_probe_setup *setup, attn_probe_result *out,
                           attn_error *error)
{
    attn_probe_result made = {.remark = ""};
    char reason[ATTN_MESSAGE_MAX];
    attn_status status;

    assert(setup->threads >= 1 && setup->seconds > 0 && setup->processes >= 1);
    if (!attn_probe_available(probe, reason, sizeof reason))
        return attn_error_set(error, ATTN_UNSUPPORTED, "probe %s: %s", probe->name, reason);
    status = probe->run(setup, &made, error);
    if (status == ATTN_OK)
        *out = made;
    return status;
}

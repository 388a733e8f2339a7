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
#include <time.h>

#define LONG_ROUND 0.025 /* s, long enough for any probe */

enum { ROUNDS_MIN = 3, ROUNDS_MAX = 512 };

typedef struct round_times {
    double wall; /* s, from the first start to the last end */
    double busy; /* s, of the processor, of the thread that needed least */
    int team;    /* threads that there were */
} round_times;

static double busy_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* One round on all threads. They wait for each other awake, as to wake one takes a good part of a short round. */
static round_times time_round(const attn_probe_work *work, int threads, int64_t passes)
{
    atomic_int arrived = 0;
    double begin = INFINITY, end = 0, busy = INFINITY;
    int count = 0;

#pragma omp parallel num_threads(threads) reduction(+ : count) reduction(min : begin, busy) reduction(max : end)
    {
        double before;

        count += 1;
        atomic_fetch_add(&arrived, 1);
        while (atomic_load(&arrived) < omp_get_num_threads())
            sched_yield();
        before = busy_clock();
        begin = attn_clock();
        work->pass(work->context, omp_get_thread_num(), passes);
        end = attn_clock();
        busy = busy_clock() - before;
    }
    return (round_times){end - begin, busy, count};
}

/* Whether a round was long enough is asked of the time that its threads were at work: where others use the machine, one
 * pass may take as long as a round should. A round that is too short tells that all before were, too. */
attn_status attn_probe_time(const attn_probe_work *work, const attn_probe_setup *setup, attn_probe_result *out,
                            attn_error *error)
{
    const double least = fmin(LONG_ROUND, setup->seconds / 16), begin = attn_clock();
    double rates[ROUNDS_MAX], time = 0;
    int64_t passes = 1;
    size_t rounds = 0;

    do {
        const round_times round = time_round(work, setup->threads, passes);

        if (round.team < setup->threads)
            return attn_error_set(error, ATTN_UNSUPPORTED, "threads %d: OpenMP grants %d here", setup->threads,
                                  round.team);
        if (round.busy < least) {
            passes *= 2;
            rounds = 0;
            time = 0;
        } else {
            rates[rounds++] = work->amount * (double)passes * setup->threads / round.wall;
            time += round.wall;
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

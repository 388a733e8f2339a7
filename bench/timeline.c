#include "timeline.h"

#include <attn/comm.h>

#include <stdlib.h>

/* Events of a rank, and of all ranks together: 32 bytes each in the file. */
enum { RANK_EVENTS = 4096, ALL_EVENTS = 1 << 20 };

/* Repetitions before the one that is recorded: so many at most, and for so long. */
enum { WARM_UPS = 5 };
#define WARM_UP_SECONDS 0.05

/* What a rank hands to rank 0, as numbers: how many events, how many were lost, then the events. */
enum { SENT_COUNT, SENT_LOST, SENT_EVENTS };
enum { EVENT_PHASE, EVENT_BEGIN, EVENT_END, EVENT_NUMBERS };

static int64_t room(int ranks)
{
    return ALL_EVENTS / ranks < RANK_EVENTS ? ALL_EVENTS / ranks : RANK_EVENTS;
}

/* Short repetitions are slower once something else has run, as the validation has; long ones do not notice. The median
 * is the same on all ranks. */
static attn_status warm_up(const attn_sampler_target *target, double median, attn_error *error)
{
    double seconds[ATTN_PHASE_COUNT];
    attn_status status = ATTN_OK;

    for (int done = 0; done < WARM_UPS && (done + 1) * median < WARM_UP_SECONDS && status == ATTN_OK; done++) {
        status = target->barrier(target->context, error);
        if (status == ATTN_OK)
            status = target->run(target->context, seconds, error);
    }
    return status;
}

/* The pass, and the wait for the ranks that take longer. There is room for one event more than the timeline knows. */
static attn_status record_pass(attn_dist *dist, const attn_sampler_target *target, attn_timeline *line,
                               attn_error *error)
{
    double seconds[ATTN_PHASE_COUNT], end;
    attn_status status = target->barrier(target->context, error);

    if (status == ATTN_OK) {
        attn_dist_record(dist, line);
        status = target->run(target->context, seconds, error);
    }
    if (status != ATTN_OK)
        return status;
    end = attn_clock();
    status = target->barrier(target->context, error);
    line->events[line->count++] = (attn_event){.rank = attn_dist_part(dist)->rank,
                                               .phase = ATTN_PHASE_IMBALANCE_WAIT,
                                               .begin = seconds[ATTN_PHASE_TOTAL],
                                               .end = seconds[ATTN_PHASE_TOTAL] + (attn_clock() - end)};
    return status;
}

static void write_numbers(const attn_timeline *line, double *numbers)
{
    numbers[SENT_COUNT] = (double)line->count;
    numbers[SENT_LOST] = (double)line->lost;
    for (int64_t i = 0; i < line->count; i++) {
        double *const at = numbers + SENT_EVENTS + i * EVENT_NUMBERS;

        at[EVENT_PHASE] = (double)line->events[i].phase;
        at[EVENT_BEGIN] = line->events[i].begin;
        at[EVENT_END] = line->events[i].end;
    }
}

/* On rank 0: all = [ranks][size]. */
static void read_numbers(const double *all, int ranks, int64_t size, timeline *out)
{
    for (int rank = 0; rank < ranks; rank++) {
        const double *const numbers = all + rank * size;

        out->lost += (int64_t)numbers[SENT_LOST];
        for (int64_t i = 0; i < (int64_t)numbers[SENT_COUNT]; i++) {
            const double *const at = numbers + SENT_EVENTS + i * EVENT_NUMBERS;

            out->events[out->count++] = (attn_event){
                .rank = rank, .phase = (attn_phase)at[EVENT_PHASE], .begin = at[EVENT_BEGIN], .end = at[EVENT_END]};
        }
    }
}

static attn_status gather(MPI_Comm comm, const attn_timeline *line, timeline *out, attn_error *error)
{
    const int ranks = attn_comm_size(comm);
    const bool root = attn_comm_rank(comm) == 0;
    double most = (double)line->count, *numbers, *all = NULL;
    attn_status status = attn_comm_max(comm, &most, 1, error);
    int64_t size;

    if (status != ATTN_OK)
        return status;
    size = SENT_EVENTS + (int64_t)most * EVENT_NUMBERS;
    numbers = calloc((size_t)size, sizeof *numbers);
    if (root) {
        all = calloc((size_t)(ranks * size), sizeof *all);
        out->events = calloc((size_t)(ranks * (int64_t)most), sizeof *out->events);
    }
    if (numbers == NULL || (root && (all == NULL || out->events == NULL)))
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the timeline of %d ranks", ranks);
    else
        write_numbers(line, numbers);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_gather(comm, numbers, size, all, error);
    if (status == ATTN_OK && root)
        read_numbers(all, ranks, size, out);
    free(numbers);
    free(all);
    return status;
}

attn_status timeline_record(attn_dist *dist, const attn_sampler_target *target, double median, timeline *out,
                            attn_error *error)
{
    const MPI_Comm comm = attn_dist_comm(dist);
    attn_timeline line = {.capacity = room(attn_comm_size(comm))};
    attn_status status = ATTN_OK;

    *out = (timeline){.events = NULL};
    line.events = calloc((size_t)line.capacity + 1, sizeof *line.events);
    if (line.events == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for a timeline");
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = warm_up(target, median, error);
    if (status == ATTN_OK)
        status = record_pass(dist, target, &line, error);
    if (status == ATTN_OK)
        status = gather(comm, &line, out, error);
    free(line.events);
    if (status != ATTN_OK) {
        free(out->events);
        *out = (timeline){.events = NULL};
    }
    return status;
}

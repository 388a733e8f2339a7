#include "core/checked.h"

#include <attn/training_file.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

attn_status attn_training_record_create(attn_training_record *out, attn_error *error)
{
    attn_status status;

    *out = (attn_training_record){.phases = ATTN_PHASE_COUNT};
    status = attn_attributes_create(&out->settings, error);
    if (status == ATTN_OK)
        status = attn_attributes_create(&out->environment, error);
    if (status != ATTN_OK)
        attn_training_record_release(out);
    return status;
}

void attn_training_record_release(attn_training_record *record)
{
    attn_attributes_destroy(record->settings);
    attn_attributes_destroy(record->environment);
    free(record->loss);
    free(record->accuracy);
    free(record->seconds);
    attn_train_state_release(&record->state);
    *record = (attn_training_record){.settings = NULL};
}

/* Makes room for one step more: at every power of two steps it is doubled. */
static bool grow(double **array, int64_t steps, int64_t width)
{
    const bool full = (steps & (steps - 1)) == 0;
    int64_t room = steps > 0 ? 2 * steps : 1, bytes;
    double *more;

    if (!full)
        return true;
    if (!attn_int64_multiply(room, width, &bytes) || !attn_int64_multiply(bytes, (int64_t)sizeof(double), &bytes) ||
        bytes == 0)
        return false;
    more = realloc(*array, (size_t)bytes);
    if (more != NULL)
        *array = more;
    return more != NULL;
}

/* Times of one step, [ranks,phases], from those of fewer ranks and phases. */
static void place_times(double *to, int64_t ranks, int64_t phases, const double *from, int64_t from_ranks,
                        int64_t from_phases)
{
    for (int64_t rank = 0; rank < ranks; rank++)
        for (int64_t phase = 0; phase < phases; phase++) {
            double *const time = &to[rank * phases + phase];

            if (rank >= from_ranks)
                *time = NAN;
            else
                *time = phase < from_phases ? from[rank * from_phases + phase] : 0;
        }
}

/* Times of the steps so far for more ranks or phases, with room for as many steps as grow has made. */
static bool widen(attn_training_record *record, int64_t ranks, int64_t phases)
{
    int64_t room = 1, count;
    double *wide;

    while (room < record->steps)
        room *= 2;
    if (!attn_int64_multiply(room, ranks * phases, &count) || count == 0 || (uint64_t)count > SIZE_MAX / sizeof *wide)
        return false;
    wide = malloc((size_t)count * sizeof *wide);
    if (wide == NULL)
        return false;
    for (int64_t step = 0; step < record->steps; step++)
        place_times(wide + step * ranks * phases, ranks, phases,
                    record->seconds + step * record->ranks * record->phases, record->ranks, record->phases);
    free(record->seconds);
    record->seconds = wide;
    record->ranks = ranks;
    record->phases = phases;
    return true;
}

attn_status attn_training_record_append(attn_training_record *record, const attn_train_step *step, int64_t ranks,
                                        const double *seconds, attn_error *error)
{
    const int64_t most = ranks > record->ranks ? ranks : record->ranks;
    const int64_t phases = record->phases > ATTN_PHASE_COUNT ? record->phases : ATTN_PHASE_COUNT;
    bool room = true;

    if (most > record->ranks || phases > record->phases)
        room = widen(record, most, phases);
    if (!room || !grow(&record->loss, record->steps, 1) || !grow(&record->accuracy, record->steps, 1) ||
        !grow(&record->seconds, record->steps, most * phases))
        return attn_error_set(error, ATTN_MEMORY, "no memory for the curve of %lld steps",
                              (long long)record->steps + 1);
    record->loss[record->steps] = step->loss;
    record->accuracy[record->steps] = step->accuracy;
    place_times(record->seconds + record->steps * most * phases, most, phases, seconds, ranks, ATTN_PHASE_COUNT);
    record->steps++;
    return ATTN_OK;
}

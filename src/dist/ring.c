#include "dist/ring.h"

#include "dist/partial.h"
#include "dist/transfers.h"

#include <attn/memory.h>

#include "core/checked.h"

#include <stdlib.h>
#include <string.h>

/* Each buffer has a tag of its own, and a part that is sent has that of the buffer which the receiver has for it. */
enum { TAG_KEYS = 1, TAG_VALUES = TAG_KEYS + 2, TAG_SUMS = TAG_VALUES + 2, TAG_HOME = TAG_SUMS + 2, TAG_END };

enum { SHARE = 2, HOME }; /* of the sums, behind those on their way */

struct attn_ring {
    attn_ring_setup setup;
    int members, next, before;
    void *k[2], *v[2];      /* two parts on their way */
    void *sums[4];          /* backward: dk and dv of two parts on their way, and this member's share of one */
    attn_steps *steps;      /* step s: the part of member mine - s */
    attn_step_parts *parts; /* [members] arrays of each member's keys */
    attn_array *k_step, *v_step, *dk, *dv; /* those of the part of a step */
    attn_transfers keys, dkv, home;
    attn_rooms *rooms; /* one-sided: has the buffers, but for the share */
};

/* Bytes of the keys of member j (of D elements each) or its values (Dv), or of their sums. */
static int64_t part_bytes(const attn_ring_setup *setup, int j, int64_t width, attn_dtype dtype)
{
    return setup->plan->problem.shape.batch * setup->kv_head_count * setup->needs->kv_rows[j]->rows * width *
           (int64_t)attn_dtype_size(dtype);
}

static int64_t key_bytes(const attn_ring_setup *setup, int j)
{
    return part_bytes(setup, j, setup->plan->problem.shape.head_dim, setup->plan->problem.dtype);
}

static int64_t value_bytes(const attn_ring_setup *setup, int j)
{
    return part_bytes(setup, j, setup->plan->problem.shape.v_head_dim, setup->plan->problem.dtype);
}

static int64_t sum_bytes(const attn_ring_setup *setup, int j)
{
    const attn_shape *shape = &setup->plan->problem.shape;

    return part_bytes(setup, j, shape->head_dim + shape->v_head_dim,
                      attn_dtype_accumulator(setup->plan->problem.dtype));
}

/* The part with most rows among those that travel; -1: none does. */
static int largest_part(const attn_needs *needs)
{
    int largest = -1;

    for (int j = 0; j < needs->parts; j++)
        if (needs->reach[j] > 0 && (largest < 0 || needs->kv_rows[j]->rows > needs->kv_rows[largest]->rows))
            largest = j;
    return largest;
}

/* One-sided, what travels has rooms. */
static bool is_onesided(const attn_ring_setup *setup)
{
    return setup->plan->transfer == ATTN_TRANSFER_ONESIDED && setup->needs->parts > 1;
}

static int64_t room_bytes(const attn_ring_setup *setup, int64_t bytes)
{
    return is_onesided(setup) ? attn_rooms_bytes_of(bytes) : bytes;
}

static int64_t seen_steps(const attn_needs *needs, int mine)
{
    int64_t seen = 0;

    for (int j = 0; j < needs->parts; j++)
        seen += attn_needs_see(needs, mine, j);
    return seen;
}

void attn_ring_predict(const attn_ring_setup *setup, attn_prediction *out)
{
    const attn_needs *needs = setup->needs;
    const int members = needs->parts, largest = largest_part(needs);

    for (int s = 0; s < members - 1; s++) {
        const int j = (setup->mine - s + members) % members;

        if (s >= needs->reach[j])
            continue;
        out->exchange_bytes += (double)(key_bytes(setup, j) + value_bytes(setup, j));
        out->messages += (double)(attn_transfers_messages(key_bytes(setup, j), setup->message_bytes) +
                                  attn_transfers_messages(value_bytes(setup, j), setup->message_bytes));
    }
    if (is_onesided(setup))
        out->extra_bytes += (double)attn_rooms_bytes_once();
    if (largest >= 0)
        out->extra_bytes += (setup->lent ? 1 : 2) * (double)(room_bytes(setup, key_bytes(setup, largest)) +
                                                             room_bytes(setup, value_bytes(setup, largest)));
    if (setup->head_count > 0)
        out->extra_bytes += attn_steps_extra_bytes(setup->plan, setup->head_count, needs->q_rows[setup->mine]->rows,
                                                   seen_steps(needs, setup->mine));
}

static int64_t most_sum_bytes(const attn_ring_setup *setup)
{
    int64_t most = 0;

    for (int j = 0; setup->needs->parts > 1 && j < setup->needs->parts; j++) /* one member sums in place */
        most = sum_bytes(setup, j) > most ? sum_bytes(setup, j) : most;
    return most;
}

void attn_ring_predict_sums(const attn_ring_setup *setup, attn_prediction *out)
{
    const attn_needs *needs = setup->needs;
    const int members = needs->parts;

    for (int s = 0; s < members; s++) {
        const int j = (setup->mine - s + members) % members;

        if (needs->reach[j] <= 0 || s > needs->reach[j])
            continue;
        out->exchange_bytes += (double)sum_bytes(setup, j);
        out->messages += (double)attn_transfers_messages(sum_bytes(setup, j), setup->message_bytes);
    }
    out->extra_bytes += (double)most_sum_bytes(setup) + 3 * (double)room_bytes(setup, most_sum_bytes(setup));
}

void attn_ring_destroy(attn_ring *ring)
{
    if (ring == NULL)
        return;
    for (int n = 0; n < (ring->setup.lent ? 1 : 2) && ring->rooms == NULL; n++) {
        free(ring->k[n]);
        free(ring->v[n]);
    }
    for (int n = 0; n < 4; n++)
        if (ring->rooms == NULL || n == SHARE)
            free(ring->sums[n]);
    attn_rooms_destroy(ring->rooms);
    free(ring->parts);
    free(ring->k_step);
    free(ring->v_step);
    free(ring->dk);
    free(ring->dv);
    attn_steps_destroy(ring->steps);
    attn_transfers_release(&ring->keys);
    attn_transfers_release(&ring->dkv);
    attn_transfers_release(&ring->home);
    free(ring);
}

/* The arrays of every member's keys, and room for those of one. */
static attn_status make_parts(attn_ring *ring, attn_error *error)
{
    const attn_ring_setup *setup = &ring->setup;
    int64_t most = 1;

    ring->parts = attn_calloc_array(ring->members, sizeof *ring->parts);
    for (int j = 0; j < ring->members && ring->parts != NULL; j++) {
        ring->parts[j] = setup->parts != NULL
                             ? setup->parts[j]
                             : (attn_step_parts){1, (const attn_segments *const *)&setup->needs->kv_rows[j]};
        most = ring->parts[j].part_count > most ? ring->parts[j].part_count : most;
    }
    ring->k_step = attn_calloc_array(most, sizeof *ring->k_step);
    ring->v_step = attn_calloc_array(most, sizeof *ring->v_step);
    ring->dk = attn_calloc_array(most, sizeof *ring->dk);
    ring->dv = attn_calloc_array(most, sizeof *ring->dv);
    if (ring->parts == NULL || ring->k_step == NULL || ring->v_step == NULL || ring->dk == NULL || ring->dv == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the parts of a ring of %d ranks", ring->members);
    return ATTN_OK;
}

static attn_status make_steps(attn_ring *ring, attn_error *error)
{
    const attn_ring_setup *setup = &ring->setup;
    attn_steps_setup of = {.plan = setup->plan,
                           .head_begin = setup->head_begin,
                           .head_count = setup->head_count,
                           .kv_head_begin = setup->kv_head_begin,
                           .kv_head_count = setup->kv_head_count,
                           .q_rows = setup->needs->q_rows[setup->mine],
                           .step_count = ring->members,
                           .dkv_dtype = ring->members > 1 ? attn_dtype_accumulator(setup->plan->problem.dtype)
                                                          : setup->dkv_dtype};
    attn_step_parts *steps = attn_calloc_array(ring->members, sizeof *steps);
    attn_status status;

    if (steps == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %d steps", ring->members);
    for (int s = 0; s < ring->members; s++)
        steps[s] = ring->parts[(setup->mine - s + ring->members) % ring->members];
    of.steps = steps;
    status = attn_steps_create(&of, &ring->steps, error);
    free(steps);
    return status;
}

static attn_status choose_transfer(attn_ring *ring, attn_error *error)
{
    const attn_transfer way = ring->setup.plan->transfer;
    attn_status status = attn_transfers_choose(&ring->keys, way, ring->members, error);

    if (status == ATTN_OK)
        status = attn_transfers_choose(&ring->dkv, way, ring->members + 1, error);
    return status == ATTN_OK ? attn_transfers_choose(&ring->home, way, 1, error) : status;
}

static attn_status make_buffers(attn_ring *ring, attn_error *error)
{
    const attn_ring_setup *setup = &ring->setup;
    const int largest = largest_part(setup->needs);
    const int64_t sums = setup->plan->pass == ATTN_PASS_BACKWARD ? most_sum_bytes(setup) : 0;
    int64_t k = 0, v = 0;
    attn_status status;

    if (largest >= 0) {
        k = key_bytes(setup, largest);
        v = value_bytes(setup, largest);
    }
    ring->k[1] = setup->k_lent;
    ring->v[1] = setup->v_lent;
    for (int n = 0; n < (setup->lent ? 1 : 2) && k > 0 && !is_onesided(setup); n++) {
        ring->k[n] = attn_aligned_alloc((size_t)k);
        ring->v[n] = attn_aligned_alloc((size_t)v);
        if (ring->k[n] == NULL || ring->v[n] == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for keys and values on their way, %lld bytes",
                                  (long long)(k + v));
    }
    for (int n = 0; n < 4 && sums > 0; n++) {
        if (is_onesided(setup) && n != SHARE)
            continue;
        ring->sums[n] = attn_aligned_alloc((size_t)sums);
        if (ring->sums[n] == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for sums of dk and dv, four times %lld bytes",
                                  (long long)sums);
    }
    status = attn_transfers_create(setup->comm, setup->message_bytes, 4, 2 * (k + v), &ring->keys, error);
    if (status == ATTN_OK)
        status = attn_transfers_create(setup->comm, setup->message_bytes, 2, 2 * sums, &ring->dkv, error);
    if (status == ATTN_OK)
        status = attn_transfers_create(setup->comm, setup->message_bytes, 1, sums, &ring->home, error);
    return status == ATTN_OK ? choose_transfer(ring, error) : status;
}

attn_status attn_ring_create(const attn_ring_setup *setup, attn_ring **out, attn_error *error)
{
    attn_ring *ring = calloc(1, sizeof *ring);
    attn_status status;

    *out = NULL;
    if (ring == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the ring");
    ring->setup = *setup;
    ring->members = setup->needs->parts;
    ring->next = (setup->mine + 1) % ring->members;
    ring->before = (setup->mine + ring->members - 1) % ring->members;
    status = make_buffers(ring, error);
    if (status == ATTN_OK)
        status = make_parts(ring, error);
    if (status == ATTN_OK)
        status = make_steps(ring, error);
    if (status != ATTN_OK) {
        attn_ring_destroy(ring);
        return status;
    }
    *out = ring;
    return ATTN_OK;
}

attn_status attn_ring_open(attn_ring *ring, attn_error *error)
{
    const attn_ring_setup *setup = &ring->setup;
    const int largest = largest_part(setup->needs);
    const int64_t sums = setup->plan->pass == ATTN_PASS_BACKWARD ? most_sum_bytes(setup) : 0;
    void **const buffers[] = {&ring->k[0],    &ring->k[1],    &ring->v[0],      &ring->v[1],
                              &ring->sums[0], &ring->sums[1], &ring->sums[HOME]};
    attn_room list[TAG_END - TAG_KEYS];
    attn_status status;

    if (!is_onesided(setup))
        return ATTN_OK;
    for (int tag = TAG_KEYS; tag < TAG_END; tag++) {
        const int64_t bytes = tag >= TAG_SUMS    ? sums
                              : largest < 0      ? 0
                              : tag < TAG_VALUES ? key_bytes(setup, largest)
                                                 : value_bytes(setup, largest);

        list[tag - TAG_KEYS] = (attn_room){.tag = tag, .bytes = bytes};
    }
    status = attn_rooms_create(setup->comm, list, TAG_END - TAG_KEYS, &ring->rooms, error);
    if (status != ATTN_OK)
        return status;
    for (int n = 0; n < TAG_END - TAG_KEYS; n++)
        *buffers[n] = list[n].data;
    attn_transfers_place(&ring->keys, ring->rooms);
    attn_transfers_place(&ring->dkv, ring->rooms);
    attn_transfers_place(&ring->home, ring->rooms);
    return ATTN_OK;
}

/* A part, where it stands at step s. */
typedef struct ring_place {
    int j; /* its owner */
    const void *k, *v;
} ring_place;

static ring_place place_at(const attn_ring *ring, const void *k, const void *v, int s)
{
    const int j = (ring->setup.mine - s + ring->members) % ring->members;

    return s == 0 ? (ring_place){j, k, v} : (ring_place){j, ring->k[(s - 1) % 2], ring->v[(s - 1) % 2]};
}

/* Sends the part of step s on, and receives that of the next step, as far as anybody on the way sees them. */
static attn_status start_step(attn_ring *ring, const ring_place *here, int s, attn_laps *laps, attn_error *error)
{
    const attn_ring_setup *setup = &ring->setup;
    const int *reach = setup->needs->reach;
    const int coming = (setup->mine - s - 1 + ring->members) % ring->members;
    attn_status status;

    if (s + 1 < ring->members && s + 1 <= reach[coming]) {
        attn_transfers_receive(&ring->keys, ring->k[s % 2], key_bytes(setup, coming), ring->before, TAG_KEYS + s % 2);
        attn_transfers_receive(&ring->keys, ring->v[s % 2], value_bytes(setup, coming), ring->before,
                               TAG_VALUES + s % 2);
    }
    if (s < reach[here->j]) {
        attn_transfers_send(&ring->keys, here->k, key_bytes(setup, here->j), ring->next, TAG_KEYS + s % 2);
        attn_transfers_send(&ring->keys, here->v, value_bytes(setup, here->j), ring->next, TAG_VALUES + s % 2);
    }
    attn_lap(laps, ATTN_PHASE_EXCHANGE);
    status = attn_transfers_ready(&ring->keys, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    return status;
}

/* The arrays of member j's keys, values or their sums, which stand one after the other. */
static void list_arrays(const attn_ring *ring, int j, const void *data, int64_t width, attn_dtype dtype,
                        attn_array *list)
{
    const attn_ring_setup *setup = &ring->setup;
    const int64_t row = setup->plan->problem.shape.batch * setup->kv_head_count * width;
    int64_t before = 0;

    for (int64_t n = 0; n < ring->parts[j].part_count; n++) {
        const int64_t rows = ring->parts[j].part_rows[n]->rows;

        list[n] = attn_array_of_const((const char *)data + (size_t)(row * before) * attn_dtype_size(dtype),
                                      setup->kv_head_count, rows, width);
        before += rows;
    }
}

static void list_keys(attn_ring *ring, const ring_place *here)
{
    const attn_problem *problem = &ring->setup.plan->problem;

    list_arrays(ring, here->j, here->k, problem->shape.head_dim, problem->dtype, ring->k_step);
    list_arrays(ring, here->j, here->v, problem->shape.v_head_dim, problem->dtype, ring->v_step);
}

attn_status attn_ring_forward(attn_ring *ring, const attn_array *q, const void *k, const void *v, const attn_array *o,
                              const attn_array *lse, attn_laps *laps, attn_error *error)
{
    const attn_progress progress = attn_transfers_progress(&ring->keys);
    attn_status status = ATTN_OK;

    attn_transfers_begin(&ring->keys);
    attn_steps_forward(ring->steps, q, o, lse);
    for (int s = 0; s < ring->members && status == ATTN_OK; s++) {
        const ring_place here = place_at(ring, k, v, s);

        list_keys(ring, &here);
        status = start_step(ring, &here, s, laps, error);
        if (status != ATTN_OK)
            break;
        attn_steps_forward_step(ring->steps, s, ring->k_step, ring->v_step, &progress, laps);
        status = attn_transfers_wait(&ring->keys, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    }
    if (status == ATTN_OK)
        attn_steps_forward_end(ring->steps, laps);
    return status;
}

/* ---- Backward ---- */

/* The sums of member j in a buffer: dk of all its arrays, then dv. */
static void *values_of_sums(const attn_ring *ring, int j, void *sums)
{
    const attn_problem *problem = &ring->setup.plan->problem;

    return (char *)sums + part_bytes(&ring->setup, j, problem->shape.head_dim, attn_dtype_accumulator(problem->dtype));
}

static void list_sums(attn_ring *ring, int j, void *sums)
{
    const attn_problem *problem = &ring->setup.plan->problem;
    const attn_dtype dtype = attn_dtype_accumulator(problem->dtype);

    list_arrays(ring, j, sums, problem->shape.head_dim, dtype, ring->dk);
    list_arrays(ring, j, values_of_sums(ring, j, sums), problem->shape.v_head_dim, dtype, ring->dv);
}

/* What a backward pass goes from and to. */
typedef struct ring_pass {
    const void *k, *v;
    void *dk, *dv;
} ring_pass;

/* The complete sums of this member's part become dk and dv. */
static void store_home(const attn_ring *ring, const ring_pass *pass, void *sums)
{
    const attn_ring_setup *setup = &ring->setup;
    const attn_shape *shape = &setup->plan->problem.shape;
    const int64_t lines = shape->batch * setup->kv_head_count * setup->needs->kv_rows[setup->mine]->rows;

    attn_partial_convert(setup->plan, lines * shape->head_dim, setup->dkv_dtype, pass->dk, sums);
    attn_partial_convert(setup->plan, lines * shape->v_head_dim, setup->dkv_dtype, pass->dv,
                         values_of_sums(ring, setup->mine, sums));
}

/* Keys and sums are under way at once. */
static void drive(void *context)
{
    attn_ring *ring = context;

    attn_transfers_drive(&ring->keys);
    attn_transfers_drive(&ring->dkv);
}

/* One step of the sums: this member's share is computed, added to what comes along, and handed on. */
static attn_status step_sums(attn_ring *ring, const ring_pass *pass, const ring_place *here, int s, attn_laps *laps,
                             attn_error *error)
{
    const attn_plan *plan = ring->setup.plan;
    const int reach = ring->setup.needs->reach[here->j];
    const int64_t bytes = sum_bytes(&ring->setup, here->j);
    const attn_progress progress = {.make = drive, .context = ring};
    void *const sums = ring->sums[s % 2], *const share = s == 0 ? sums : ring->sums[SHARE];
    attn_status status;

    if (s > (reach > 0 ? reach : 0))
        return attn_transfers_wait(&ring->dkv, error);
    /* What was handed on in the step before leaves from the other buffer; this one is free since the wait there. */
    if (s > 0)
        attn_transfers_receive(&ring->dkv, sums, bytes, ring->before, TAG_SUMS + s % 2);
    attn_lap(laps, ATTN_PHASE_EXCHANGE);
    status = attn_transfers_ready(&ring->dkv, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    list_keys(ring, here);
    list_sums(ring, here->j, share);
    if (s == 0 || attn_steps_see(ring->steps, s))
        attn_steps_backward_step(ring->steps, s, ring->k_step, ring->v_step, ring->dk, ring->dv, &progress, laps);
    status = attn_transfers_wait(&ring->dkv, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    if (s > 0 && attn_steps_see(ring->steps, s)) {
        attn_partial_add(plan, bytes, sums, share);
        attn_lap(laps, ATTN_PHASE_MERGE);
    }
    if (reach <= 0)
        store_home(ring, pass, sums);
    else
        attn_transfers_send(&ring->dkv, sums, bytes, s < reach ? ring->next : here->j,
                            s < reach ? TAG_SUMS + (s + 1) % 2 : TAG_HOME);
    return ATTN_OK;
}

/* With one member nothing travels, and the gradients are made in place. */
static void backward_alone(attn_ring *ring, const attn_steps_rows *rows, const ring_pass *pass, attn_laps *laps)
{
    const attn_ring_setup *setup = &ring->setup;
    const attn_shape *shape = &setup->plan->problem.shape;
    const ring_place here = {0, pass->k, pass->v};

    list_keys(ring, &here);
    list_arrays(ring, 0, pass->dk, shape->head_dim, setup->dkv_dtype, ring->dk);
    list_arrays(ring, 0, pass->dv, shape->v_head_dim, setup->dkv_dtype, ring->dv);
    attn_steps_backward(ring->steps, rows);
    attn_steps_backward_step(ring->steps, 0, ring->k_step, ring->v_step, ring->dk, ring->dv, NULL, laps);
    attn_steps_backward_end(ring->steps, laps);
}

attn_status attn_ring_backward(attn_ring *ring, const attn_steps_rows *rows, const void *k, const void *v, void *dk,
                               void *dv, attn_laps *laps, attn_error *error)
{
    const int mine = ring->setup.mine, reach = ring->setup.needs->reach[mine];
    const ring_pass pass = {k, v, dk, dv};
    attn_status status = ATTN_OK;

    if (ring->members == 1) {
        backward_alone(ring, rows, &pass, laps);
        return ATTN_OK;
    }
    attn_transfers_begin(&ring->keys);
    attn_transfers_begin(&ring->dkv);
    attn_transfers_begin(&ring->home);
    if (reach > 0) /* before anybody may wait for having sent it */
        attn_transfers_receive(&ring->home, ring->sums[HOME], sum_bytes(&ring->setup, mine),
                               (mine + reach) % ring->members, TAG_HOME);
    attn_steps_backward(ring->steps, rows);
    for (int s = 0; s < ring->members && status == ATTN_OK; s++) {
        const ring_place here = place_at(ring, k, v, s);

        status = start_step(ring, &here, s, laps, error);
        if (status == ATTN_OK)
            status = step_sums(ring, &pass, &here, s, laps, error);
        if (status == ATTN_OK)
            status = attn_transfers_wait(&ring->keys, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    }
    if (status != ATTN_OK)
        return status;
    status = attn_transfers_wait(&ring->dkv, error);
    if (status == ATTN_OK)
        status = attn_transfers_wait(&ring->home, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    if (reach > 0)
        store_home(ring, &pass, ring->sums[HOME]);
    attn_steps_backward_end(ring->steps, laps);
    return ATTN_OK;
}

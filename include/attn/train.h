/* Training of an attention layer on associative recall, a task that attention must solve by content: the first half of
 * the rows of a sequence are facts, which bind a value to each of seq / 2 keys; the others are queries, each of which
 * shows one key and must be answered with the value that it is bound to in this sequence. In the layout contiguous no
 * rank of two or more that hold a sequence, but for a middle one, holds both facts and queries.
 *
 *   x of a fact   [embedding of its key | embedding of its value]       each embed_dim / 2 wide (keys: rounded down),
 *   x of a query  [embedding of its key | embedding of "?"]             standard normal, fixed
 *   y             one score a value: the output projection is the read-out, and trained with the layer
 *   loss          mean over the queries of all sequences of -log softmax(y)[value], in nat; ln(values) by guessing
 *
 * Every step has new sequences. All that is random depends on the seed, the step and global numbers alone, so data,
 * and weights at the start, are the same at any number of ranks.
 *
 * Sources: the task, Graves, Wayne and Danihelka 2014 ("Neural Turing machines"), section 4.3, in the form with keys
 * and values of Ba et al. 2016, "Using fast weights to attend to the recent past", section 4.1. */
#ifndef ATTN_TRAIN_H
#define ATTN_TRAIN_H

#include <attn/layer.h>
#include <attn/optimiser.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is trained, and how; a plain value. */
typedef struct attn_training {
    attn_layer_problem layer; /* projected, self-attention, with an output projection: out_dim values */
    attn_adamw optimiser;
    uint64_t seed;
} attn_training;

/* What a step tells; the same on all ranks, but for seconds. */
typedef struct attn_train_step {
    double loss;                      /* of the weights before the step, nat */
    double accuracy;                  /* share of the queries whose value has the highest score */
    double seconds[ATTN_PHASE_COUNT]; /* this rank's */
} attn_train_step;

/* What is kept of each weight: X(NAME, text). */
#define ATTN_TRAIN_ARRAY_LIST(X)                                                                                       \
    X(WEIGHTS, "weights")                                                                                              \
    X(MEAN, "mean")                                                                                                    \
    X(SQUARE, "square")

typedef enum attn_train_array {
#define ATTN_TRAIN_ARRAY_ENUM(name, text) ATTN_TRAIN_##name,
    ATTN_TRAIN_ARRAY_LIST(ATTN_TRAIN_ARRAY_ENUM)
#undef ATTN_TRAIN_ARRAY_ENUM
        ATTN_TRAIN_ARRAY_COUNT
} attn_train_array;

/* All that a training has made so far: whole weights [out,in] and biases [out] with their means of gradients and of
 * squares (m and v of optimiser.h), in the accumulator type; NULL where the layer has none. */
typedef struct attn_train_state {
    int64_t steps; /* made */
    attn_layer_arrays arrays[ATTN_TRAIN_ARRAY_COUNT];
} attn_train_state;

typedef struct attn_trainer attn_trainer;

/* Not collective. Names an array ("weights"). */
ATTN_API const char *attn_train_array_name(attn_train_array array);

/* Not collective. Checks what is to be trained. ATTN_ARGUMENT with the name and value at fault. */
ATTN_API attn_status attn_training_check(const attn_training *training, attn_error *error);

/* Collective over comm. Makes the layer, with all memory of a step, and its weights: normal with variance 1 / in,
 * biases 0.
 *   training  in, the same on every rank; copied, arrays of its problem are borrowed until destroy
 *   options   in, of the layer; its pass is not read
 *   out       out, NULL on failure, on all ranks alike; destroy (collective) takes NULL
 * ATTN_ARGUMENT, ATTN_UNSUPPORTED, ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_trainer_create(MPI_Comm comm, const attn_training *training,
                                         const attn_layer_options *options, attn_trainer **out, attn_error *error);
ATTN_API void attn_trainer_destroy(attn_trainer *trainer);

/* Not collective. Its layer, borrowed until destroy, and how many steps it has made. */
ATTN_API const attn_layer *attn_trainer_layer(const attn_trainer *trainer);
ATTN_API int64_t attn_trainer_steps(const attn_trainer *trainer);

/* Collective. Makes a step: new sequences, forward, loss, backward, and the update of all weights. With the same plan
 * and threads its bits are the same from run to run. Returns ATTN_OK or ATTN_MPI. */
ATTN_API attn_status attn_trainer_step(attn_trainer *trainer, attn_train_step *out, attn_error *error);

/* Not collective. Allocates a state for a training, of zeros, and releases it.
 *   out  out, NULLs on failure; release takes NULLs
 * ATTN_MEMORY. */
ATTN_API attn_status attn_train_state_create(const attn_training *training, attn_train_state *out, attn_error *error);
ATTN_API void attn_train_state_release(attn_train_state *state);

/* Collective. Copies what a trainer has to the state of rank 0, and back: a trainer that is given a state continues
 * with the bits that the other would have had, where plan and threads are the same; a state fits any number of ranks.
 *   state  out (in), on rank 0, of the same training; not looked at elsewhere, may be NULL there
 * ATTN_MPI. */
ATTN_API attn_status attn_trainer_save(const attn_trainer *trainer, attn_train_state *state, attn_error *error);
ATTN_API attn_status attn_trainer_load(attn_trainer *trainer, const attn_train_state *state, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif

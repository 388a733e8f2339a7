/* Result files (HDF5, schema "attn-results" version 1): written by one process, outside timed regions, published whole.
 * The format is described in docs/formats.md. No function here is collective: rank 0 writes, any process reads.
 *
 * While a sweep runs, each finished case is a small file of its own in FILE.h5.parts/ (written under a name ending in
 * .tmp, fsync, rename, fsync of the folder). attn_result_writer_close joins them into FILE.h5 in the same way and
 * removes the folder. Whatever is killed, finished cases stay readable.
 */
#ifndef ATTN_RESULT_H
#define ATTN_RESULT_H

#include <attn/attributes.h>
#include <attn/phase.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, text) */
#define ATTN_CASE_STATUS_LIST(X)                                                                                       \
    X(VALID, "valid")                                                                                                  \
    X(INVALID, "invalid")                                                                                              \
    X(SKIPPED, "skipped")                                                                                              \
    X(INTERRUPTED, "interrupted")

typedef enum attn_case_status {
#define ATTN_CASE_ENUM(name, text) ATTN_CASE_##name,
    ATTN_CASE_STATUS_LIST(ATTN_CASE_ENUM)
#undef ATTN_CASE_ENUM
        ATTN_CASE_STATUS_COUNT
} attn_case_status;

/* Names a status as files do. 0 <= status < ATTN_CASE_STATUS_COUNT. */
ATTN_API const char *attn_case_status_name(attn_case_status status);

/* One case: a point of a sweep with what was measured. */
typedef struct attn_result {
    char id[ATTN_ID_SIZE]; /* attn_attributes_id of factors */
    char launch_id[64];    /* the launch that measured it */
    attn_case_status status;
    attn_attributes *factors;  /* what was varied or fixed: batch, heads, ..., ranks, threads, seed */
    attn_attributes *outcomes; /* what came out: reason, flops, bytes, memory, max_error, tolerance, converged, ... */
    int64_t reps, ranks, phases;
    double *samples;      /* [reps][ranks][phases] in s, phase 0 = total; NULL when reps is 0 */
    attn_event *timeline; /* [events] of one more repetition, by rank and begin; NULL when events is 0 */
    int64_t events;
    int64_t events_lost; /* for which there was no room, all ranks together */
} attn_result;

/* Makes an empty result (lists created, no samples). Destroy frees everything in it, samples and timeline with
 * free(), and takes NULL.
 *   out  out, destroyed by the caller; NULL on failure
 * ATTN_MEMORY. */
ATTN_API attn_status attn_result_create(attn_result **out, attn_error *error);
ATTN_API void attn_result_destroy(attn_result *result);

/* Computes for each repetition the maximum over ranks of total.
 *   out  out, [reps], s */
ATTN_API void attn_result_slowest(const attn_result *result, double *out);

typedef struct attn_result_writer attn_result_writer;

/* Opens FILE.h5 for writing: takes its lock, makes FILE.h5.parts/.
 *   path         in, ends in .h5 (any name is taken)
 *   resume       continue from existing parts; starts fresh when there is nothing
 *   launch_id    in, unique to this launch
 *   environment  in, provenance of this launch, stored as environment/LAUNCH_ID; copied
 *   out          out, closed by the caller; NULL on failure
 * ATTN_ARGUMENT for a launch_id that cannot name a group, for a path at which no file can be made, when the file or its
 * parts exist and resume is false, or when another process holds the lock; ATTN_INPUT when what is to be resumed cannot
 * be read; ATTN_FILE when it cannot be written; ATTN_MEMORY. */
ATTN_API attn_status attn_result_writer_open(const char *path, bool resume, const char *launch_id,
                                             const attn_attributes *environment, attn_result_writer **out,
                                             attn_error *error);

/* Tells whether an earlier launch has a valid case of that id. All others are worth another look: one that was skipped
 * may find more memory here. */
ATTN_API bool attn_result_writer_has(const attn_result_writer *writer, const char *id);

/* Publishes one finished case durably, replacing one of the same id.
 *   result     in; its id and launch_id without '/', no factor named as an outcome or launch_id, status, factor_names
 *   part_path  out, [size] bytes, the file that holds it; may be NULL
 * ATTN_ARGUMENT for such a name, ATTN_FILE, ATTN_MEMORY. */
ATTN_API attn_status attn_result_writer_put(attn_result_writer *writer, const attn_result *result, char *part_path,
                                            size_t size, attn_error *error);

/* Ends writing. Releases the lock and frees the writer in any case; takes NULL.
 *   join  in, make FILE.h5 from all parts and remove them; otherwise the parts stay for a later --resume
 * ATTN_INPUT for a part that cannot be read, ATTN_FILE, ATTN_MEMORY; the parts then stay. */
ATTN_API attn_status attn_result_writer_close(attn_result_writer *writer, bool join, attn_error *error);

/* Results read together: cases of one or many files, with the provenance of their launches. */
typedef struct attn_results {
    attn_result **cases; /* [count], in file order */
    size_t count;
    attn_attributes **environments; /* [environment_count]; attribute "launch_id" names the launch */
    size_t environment_count;
    char **passed_over; /* [passed_over_count]; files of folders that are no result files, "PATH: why", a line each */
    size_t passed_over_count;
} attn_results;

/* Reads result files, folders of them, and *.h5.parts folders. A case that stands more than once (same id and launch)
 * is taken once. A file *.h5 of a folder that is no result file is passed over when the folder has a result file too; a
 * file that is named itself must be one. Destroy frees everything in the results and takes NULL.
 *   paths  in, [count]
 *   out    out, destroyed by the caller; NULL on failure
 * ATTN_INPUT, naming the file; ATTN_FILE, ATTN_MEMORY. */
ATTN_API attn_status attn_results_read(const char *const *paths, size_t count, attn_results **out, attn_error *error);
ATTN_API void attn_results_destroy(attn_results *results);

/* Collects what is known of this process's machine and build without a communicator: host name, CPU, caches, kernel
 * version, memory, load, compiler and flags, commit, library versions, OMP_*, OMPI_* and SLURM_* variables, date. What
 * cannot be read is left out.
 *   environment  in/out, a list to which it is added
 * ATTN_MEMORY. */
ATTN_API attn_status attn_environment_collect(attn_attributes *environment, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif

/* Two sets of results, case by case. */
#ifndef ATTN_STUDY_COMPARISON_H
#define ATTN_STUDY_COMPARISON_H

#include <attn/result.h>
#include <attn/statistics.h>
#include <attn/study.h>

typedef enum attn_verdict {
    ATTN_VERDICT_NOT_COMPARED, /* a side has no valid launch */
    ATTN_VERDICT_SAME,         /* no difference was shown */
    ATTN_VERDICT_UNDECIDED,    /* so few values could not have shown any */
    ATTN_VERDICT_WITHIN,       /* significant, not above the threshold */
    ATTN_VERDICT_FASTER,       /* significant and above it */
    ATTN_VERDICT_SLOWER,
    ATTN_VERDICT_COUNT
} attn_verdict;

/* All launches of a case on one side. */
typedef struct attn_side {
    const attn_result *result; /* the first valid launch, the first of all when none is; NULL: not there */
    size_t launches, rejected; /* valid launches, and launches that are not */
    int64_t reps;              /* of all valid launches */
    double effective;          /* how many independent values it is worth: of repetitions, or of launches */
    double lag1;               /* autocorrelation of the repetitions of one launch; NAN where launches are compared */
    bool oversubscribed;
} attn_side;

/* A case of either side. */
typedef struct attn_pair {
    attn_side base, changed;
    bool by_launch;       /* a side has several launches: their medians are compared, otherwise repetitions */
    attn_difference time; /* s; the following is set where the verdict is not ATTN_VERDICT_NOT_COMPARED */
    attn_rank_test test;
    double p;      /* of the test, after Holm's correction */
    double change; /* difference of the medians over that of base */
    attn_verdict verdict;
} attn_pair;

struct attn_comparison {
    attn_pair *pairs; /* [count], in the order of base, then what is in the other alone */
    size_t count;
    double level, threshold;
    size_t of_verdict[ATTN_VERDICT_COUNT];
    char **warnings; /* [warning_count] */
    size_t warning_count;
    const attn_results *base, *changed;
};

/* Looks for what differs between machines and builds of the launches of both sides, and between those of one.
 *   warnings  out, [count] texts, each to be freed, and the list too */
attn_status attn_provenance_compare(const attn_results *base, const attn_results *changed, char ***warnings,
                                    size_t *count, attn_error *error);

/* Writes what the launches of a set have of an attribute, each value once: "a, b"; "-" where none has it. */
void attn_provenance_write(const attn_results *results, const char *name, FILE *stream);

#endif

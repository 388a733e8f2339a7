/* Reading results: tables, exports and pictures. Works on result files alone, on any machine, without MPI. */
#ifndef ATTN_STUDY_H
#define ATTN_STUDY_H

#include <attn/metric.h>
#include <attn/result.h>

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A table of text cells that aligns itself. */
typedef struct attn_table attn_table;

typedef enum attn_table_format { ATTN_TABLE_TEXT, ATTN_TABLE_MARKDOWN, ATTN_TABLE_CSV } attn_table_format;

/* Makes an empty table; destroy takes NULL.
 *   columns  in, names separated by '|'; a name that starts with '<' is left aligned, all others right
 *   out      out, destroyed by the caller; NULL on failure
 * ATTN_MEMORY. */
ATTN_API attn_status attn_table_create(const char *columns, attn_table **out, attn_error *error);
ATTN_API void attn_table_destroy(attn_table *table);

/* Sets the next cell of the row under construction (printf format), and ends that row; cells that were not set are
 * empty. At most as many cells as columns. A failure is kept, and told when the table is printed. */
ATTN_API void attn_table_cell(attn_table *table, const char *format, ...) ATTN_PRINTF(2, 3);
ATTN_API void attn_table_end_row(attn_table *table);

/* Prints the rows that have ended.
 *   stream  in/out
 * ATTN_MEMORY, also when a cell or a row had none, nothing being printed then; ATTN_FILE when the stream has failed. */
ATTN_API attn_status attn_table_print(const attn_table *table, attn_table_format format, FILE *stream);

/* Prints the table of `run`: one row a case (case, ranks, threads, median ms with interval, metrics, max error, VALID).
 * What is the same in all cases is said once above the table instead of in every row.
 *   metrics  in, [count] the metrics that have a column; NULL: the usual ones, whatever count is
 * ATTN_MEMORY. */
ATTN_API attn_status attn_study_print_cases(const attn_results *results, const attn_metric *const *metrics,
                                            size_t count, attn_table_format format, FILE *stream, attn_error *error);

/* Prints where the time of each case went: one row a phase that took any, with the median over repetitions of the
 * maximum over ranks (of input-read, which happens once, its time and bandwidth) and its share of total. The shares
 * need not add up to all, as another rank may be the slowest in each phase. ATTN_MEMORY. */
ATTN_API attn_status attn_study_print_phases(const attn_results *results, attn_table_format format, FILE *stream,
                                             attn_error *error);

/* Prints one self-contained line for a case just finished: what it was, its median with interval, its verdict. */
ATTN_API void attn_study_print_case_line(const attn_result *result, FILE *stream);

/* Prints the scaling table: cases that differ in ranks (and what follows from it: grid, threads) alone form a series;
 * time, speed-up and efficiency, each against the series' stated baseline, its case of fewest ranks. A series without a
 * valid baseline shows times only, and says so. ATTN_MEMORY. */
ATTN_API attn_status attn_study_print_scaling(const attn_results *results, attn_table_format format, FILE *stream,
                                              attn_error *error);

/* Prints models of scaling, fitted to each series: Amdahl (strong scaling), Gustafson (weak), the universal scalability
 * law, and kernel rate with latency and bandwidth of messages; parameters with bootstrap intervals, and the largest
 * rank count, predicted from the others, beside what was measured. Oversubscribed points are left out. A model is not
 * fitted to fewer points than its terms and two, nor where it is off by more than 10 %; the reason stands in its place.
 * ATTN_MEMORY. */
ATTN_API attn_status attn_study_print_models(const attn_results *results, attn_table_format format, FILE *stream,
                                             attn_error *error);

/* Writes the points of all series as Extra-P's JSON Lines: a line a point and phase, parameters p (ranks) and, where a
 * rank count was run with several, s (the length of the sequence), value the slowest rank of every repetition in s.
 * Left out are oversubscribed points, and points that not all series have, as Extra-P refuses them; of several launches
 * the first valid one is taken. ATTN_MEMORY. */
ATTN_API attn_status attn_study_write_extrap(const attn_results *results, FILE *stream, attn_error *error);

/* Draws the scaling of all series with intervals and the ideal line; gnuplot does the drawing. The type follows from
 * the name: .png, .svg or .pdf. ATTN_ARGUMENT for another name, ATTN_UNSUPPORTED when gnuplot is missing or nothing
 * can be drawn, ATTN_FILE when the file cannot be written, ATTN_MEMORY. Starts a process and waits for it. */
ATTN_API attn_status attn_study_plot_scaling(const attn_results *results, const char *path, attn_error *error);

/* Draws the roofline: the rate of each case with its interval over its arithmetic intensity, and above it what its
 * launch measured as bounds: peaks of arithmetic, and read bandwidth where there is one. As attn_study_plot_scaling
 * otherwise.
 */
ATTN_API attn_status attn_study_plot_roofline(const attn_results *results, const char *path, attn_error *error);

/* Tells whether a case has a timeline: ATTN_OK, or ATTN_UNSUPPORTED when none has. */
ATTN_API attn_status attn_study_check_timelines(const attn_results *results, attn_error *error);

/* Draws where the time of one repetition went: a panel a case with a bar a rank, phases in colours that differ in
 * brightness too. Of several launches of a case the first is taken; what there is no room for is said. As
 * attn_study_plot_scaling otherwise; nothing can be drawn where no case has a timeline. */
ATTN_API attn_status attn_study_plot_timeline(const attn_results *results, const char *path, attn_error *error);

/* Checks that a picture can have this name: .png, .svg or .pdf at its end. ATTN_ARGUMENT. */
ATTN_API attn_status attn_study_check_picture(const char *path, attn_error *error);

/* A number for each step of something, from step 1 on; everything is borrowed. */
typedef struct attn_curve {
    const char *name;
    const double *values; /* [count]; what is not finite is left out */
    int64_t count;
} attn_curve;

/* Draws curves over their steps, on a logarithmic axis where they span more than a factor of ten. As
 * attn_study_plot_scaling otherwise. */
ATTN_API attn_status attn_study_plot_curves(const attn_curve *curves, size_t count, const char *x_label,
                                            const char *y_label, const char *path, attn_error *error);

/* Attention weights to be drawn: some rows and keys of some heads of one sequence; everything is borrowed. */
typedef struct attn_weight_map {
    const double *weights;        /* [heads,seq,kv_seq], 0 to 1 */
    const double *scores;         /* the same; -INFINITY where a key is masked; NULL: none is */
    int64_t seq, kv_seq;          /* extents of the arrays */
    int64_t head_begin, head_end; /* the heads that are drawn, a panel each; at least one, at most 16 */
    int64_t row_begin, row_end;   /* the rows that are drawn, and the keys; at least one of each */
    int64_t key_begin, key_end;   /* */
    const char *const *row_names; /* [seq] labels of all rows; NULL: their numbers */
    const char *const *key_names; /* [kv_seq]; NULL: their numbers */
} attn_weight_map;

/* Draws weights as a heat map: a panel a head, a cell a row and key, the darker the larger, masked keys grey; numbers
 * in the cells where there is room. As attn_study_plot_scaling otherwise. */
ATTN_API attn_status attn_study_plot_weights(const attn_weight_map *map, const char *path, attn_error *error);

/* Writes a timeline as Chrome's Trace Event Format (JSON), which Perfetto opens: a process a case (pid from 1), a
 * thread a rank (tid), a complete event (ph X) a stretch of time of a phase, ts and dur in microseconds.
 * ATTN_UNSUPPORTED when no case has a timeline, ATTN_MEMORY, ATTN_FILE. */
ATTN_API attn_status attn_study_write_trace(const attn_results *results, FILE *stream, attn_error *error);

/* Writes all cases as CSV, one row a case: every factor, every outcome, median and interval. ATTN_MEMORY. */
ATTN_API attn_status attn_study_write_csv(const attn_results *results, FILE *stream, attn_error *error);

/* Writes google-benchmark's JSON: one entry an iteration (run_type "iteration"), then aggregates (median, mean, stddev;
 * run_type "aggregate"). Its compare.py reads two of them. ATTN_MEMORY, ATTN_FILE. */
ATTN_API attn_status attn_study_write_json(const attn_results *results, FILE *stream, attn_error *error);

/* Two sets of results compared case by case. */
typedef struct attn_comparison attn_comparison;

/* Pairs the cases of two sets by their id, that is by all factors, and compares their times, the slowest rank's total.
 * Where a side has several launches of a case, the medians of its launches are compared, as launches differ; otherwise
 * the repetitions, which count for as many as their autocorrelation leaves (attn_effective_count). A case is slower
 * when the p of Mann and Whitney's test, corrected over all cases by Holm, is below 1 - level and its median has grown
 * by more than the threshold; faster likewise.
 *   base, changed  in, must outlive the comparison
 *   level          in, coverage of the intervals, 0 < level < 1
 *   threshold      in, as a fraction of base's median, >= 0
 *   out            out, destroyed by the caller; NULL on failure; destroy takes NULL
 * ATTN_MEMORY. */
ATTN_API attn_status attn_study_compare(const attn_results *base, const attn_results *changed, double level,
                                        double threshold, attn_comparison **out, attn_error *error);
ATTN_API void attn_comparison_destroy(attn_comparison *comparison);

/* Counts the cases that are slower. */
ATTN_API size_t attn_comparison_slower(const attn_comparison *comparison);

/* Counts what differs between the machines and builds of the launches, and tells it in a line each; index is below that
 * count. Borrowed from the comparison. */
ATTN_API size_t attn_comparison_warnings(const attn_comparison *comparison);
ATTN_API const char *attn_comparison_warning(const attn_comparison *comparison, size_t index);

/* Prints a row a case: both medians, their difference, all with intervals, p, and the verdict, or why the case was not
 * compared; then what the numbers mean and how many cases are slower. In CSV the numbers alone, times in s.
 * ATTN_MEMORY, ATTN_FILE. */
ATTN_API attn_status attn_comparison_print(const attn_comparison *comparison, attn_table_format format, FILE *stream,
                                           attn_error *error);

#ifdef __cplusplus
}
#endif
#endif

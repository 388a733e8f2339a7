/* The options of all subcommands, in one list: name, default and help stand here once. A subcommand names the ones that
 * it takes; popt splits the command line, and values stay text until parse.h reads them. An option that is given twice
 * counts as given last. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench.h"
#include "parse.h"

#include <attn/pass.h>

#include <stddef.h>

/* Said by attn_sampler_defaults. */
#define SAMPLER_DEFAULT ""

/* X(KEY, GROUP, name, value word or NULL for a switch, default or NULL, help). A default in brackets is said only:
 * it follows from something else. The names that an option accepts are added to its help from their table. */
#define OPTION_LIST(X)                                                                                                 \
    X(BATCH, PROBLEM, "batch", "LIST", "1", "sequences in a batch")                                                    \
    X(HEADS, PROBLEM, "heads", "LIST", "8", "query heads")                                                             \
    X(KV_HEADS, PROBLEM, "kv-heads", "LIST", "[as --heads]", "key-value heads; divides --heads")                       \
    X(SEQ, PROBLEM, "seq", "LIST", "[4096; 1 with --pass decode]", "length of the sequence (query rows)")              \
    X(KV_SEQ, PROBLEM, "kv-seq", "LIST", "[as --seq; 4096 with --pass decode]", "keys and values")                     \
    X(HEAD_DIM, PROBLEM, "head-dim", "LIST", "128", "dimension of a head of q and k")                                  \
    X(V_HEAD_DIM, PROBLEM, "v-head-dim", "LIST", "[as --head-dim]", "dimension of a head of v")                        \
    X(DTYPE, PROBLEM, "dtype", "NAMES", "[float32, or the file's]", "type of the elements")                            \
    X(CAUSAL, PROBLEM, "causal", NULL, NULL, "a row sees no later key")                                                \
    X(WINDOW_LEFT, PROBLEM, "window-left", "LIST", "-1", "keys before its own that a row sees; -1: no limit")          \
    X(WINDOW_RIGHT, PROBLEM, "window-right", "LIST", "-1", "keys after its own that a row sees; -1: no limit")         \
    X(SOFTCAP, PROBLEM, "softcap", "LIST", "0", "scores are bent into -X..X; 0: off")                                  \
    X(SCALE, PROBLEM, "scale", "X", "[1/sqrt(--head-dim), or the file's]", "factor on q . k")                          \
    X(ALIBI, PROBLEM, "alibi", NULL, NULL, "add the ALiBi bias, with the slopes of its paper")                         \
    X(SINKS, PROBLEM, "sinks", NULL, NULL, "one sink a head, random by --seed")                                        \
    X(DOCUMENTS, PROBLEM, "documents", "LAWS", "0",                                                                    \
      "packed documents: a number of equal ones, or lengths as fixed:N, uniform:LO:HI, lognormal:MEDIAN:SIGMA; "       \
      "0: off")                                                                                                        \
    X(DROPOUT, PROBLEM, "dropout", "LIST", "0", "probability with which a weight is dropped, by --seed; 0: off")       \
    X(EMBED_DIM, PROBLEM, "embed-dim", "N", "64", "width of the layer's input, half of it for keys, half for values")  \
    X(VALUES, PROBLEM, "values", "N", "8", "values that a key can be bound to")                                        \
    X(INPUT, PROBLEM, "input", "FILE", NULL, "take q, k, v and all settings from an input file")                       \
    X(SEED, PROBLEM, "seed", "N", "0", "seed of data, lengths, dropout, case order and checked rows")                  \
    X(PASS, WHAT, "pass", "NAME", "[forward]", "what to compute")                                                      \
    X(STEPS, WHAT, "steps", "N", "200", "steps of the training, with those before --resume")                           \
    X(LEARNING_RATE, WHAT, "learning-rate", "X", "0.01", "of AdamW")                                                   \
    X(WEIGHT_DECAY, WHAT, "weight-decay", "X", "0", "of AdamW: the share of a weight that a step takes away")          \
    X(KERNEL, WHAT, "kernel", "NAMES", "auto", "one rank's computation (see attnbench list)")                          \
    X(PROBE, WHAT, "probe", "NAMES", "all", "what to measure")                                                         \
    X(THREADS, WHAT, "threads", "LIST", "[allowed cores / ranks of the launch on them]", "OpenMP threads of a rank")   \
    X(RANKS, DISTRIBUTE, "ranks", "LIST", "[all of the launch]", "numbers of ranks; the others sleep meanwhile")       \
    X(GRID, DISTRIBUTE, "grid", "LIST", "auto", "PSxPH: parts of the sequence x parts of the heads")                   \
    X(EXCHANGE, DISTRIBUTE, "exchange", "NAMES", "auto", "how parts of a sequence share k and v")                      \
    X(TRANSFER, DISTRIBUTE, "transfer", "NAMES", "auto", "how an exchange uses MPI (see attnbench list)")              \
    X(HYBRID, DISTRIBUTE, "hybrid", "LIST", "auto", "PUxPR: all-to-all x ring, for the exchange hybrid")               \
    X(INNER, DISTRIBUTE, "inner", "NAMES", "alltoall", "which of these two has neighbouring ranks: alltoall, ring")    \
    X(NODE_RANKS, DISTRIBUTE, "node-ranks", "N", "[as ranks lie on nodes]", "ranks of a node, as exchanges see them")  \
    X(LAYOUT, DISTRIBUTE, "layout", "NAMES", "auto", "which rows a part of the sequence has")                          \
    X(COMBINE, DISTRIBUTE, "combine", "NAMES", "allgather", "how the parts of the heads come together")                \
    X(PLAN, DISTRIBUTE, "plan", "NAME", "rule", "who makes the choices that are left open")                            \
    X(DETERMINISTIC, DISTRIBUTE, "deterministic", NULL, NULL,                                                          \
      "only what gives the same bits for every number of ranks; the rest is refused with the reason")                  \
    X(SCALING, DISTRIBUTE, "scaling", "NAME", "strong",                                                                \
      "what grows with the ranks: strong nothing, weak-seq --seq, weak-batch --batch, weak-work --seq by the root "    \
      "of the ranks")                                                                                                  \
    X(MIN_REPS, TIME, "min-reps", "N", SAMPLER_DEFAULT, "least repetitions of a case")                                 \
    X(MAX_REPS, TIME, "max-reps", "N", SAMPLER_DEFAULT, "most repetitions of a case")                                  \
    X(MAX_TIME, TIME, "max-time", "S", SAMPLER_DEFAULT, "seconds after which no repetition is added to --min-reps")    \
    X(CI, TIME, "ci", "X", SAMPLER_DEFAULT, "coverage of the confidence interval of the median")                       \
    X(REL_ERR, TIME, "rel-err", "X", SAMPLER_DEFAULT, "stop when half that interval is below X times the median")      \
    X(WARMUP, TIME, "warmup", "N", SAMPLER_DEFAULT, "repetitions before the first that counts")                        \
    X(PROBE_TIME, TIME, "max-time", "S", "0.5", "seconds for each probe")                                              \
    X(NO_WEIGHTS, SHOW, "no-weights", NULL, NULL, "of a layer file: attention of x itself, q = k = v = x, scale 1")    \
    X(ROTARY, SHOW, "rotary", "STYLE", NULL, "of a layer file: turn q and k, theta 10000: none, half, interleaved")    \
    X(BATCH_INDEX, SHOW, "batch-index", "N", "0", "which sequence of the batch")                                       \
    X(HEAD, SHOW, "head", "N", "[all; 0 with --row]", "which query head")                                              \
    X(ROW, SHOW, "row", "N", NULL, "work out one row: every product and every sum")                                    \
    X(ROW_RANGE, SHOW, "rows", "A:B", "[all]", "query rows A to B - 1")                                                \
    X(KEY_RANGE, SHOW, "keys", "A:B", "[all]", "keys A to B - 1")                                                      \
    X(BLOCK, SHOW, "block", "N", NULL, "with --row: the online softmax, by blocks of N keys")                          \
    X(PARTS, SHOW, "parts", "N", NULL, "with --row: the keys on N ranks, and their results merged")                    \
    X(TOKENS, SHOW, "tokens", "NAMES", NULL, "names of the rows, as The,cat,sat")                                      \
    X(DIGITS, SHOW, "digits", "N", "4", "digits behind the point, 1 to 15")                                            \
    X(HEAT_MAP, SHOW, "plot", "FILE", NULL, "draw the weights: FILE.png, FILE.svg or FILE.pdf (needs gnuplot)")        \
    X(OUTPUT, OUT, "output", "FILE", NULL, "file to write")                                                            \
    X(SUPPORT, OUT, "support", NULL, NULL, "print what each exchange can be used with")                                \
    X(WRITE, OUT, "write", "DIR", NULL, "write each file's inputs and what was computed to DIR, same name")            \
    X(CASES, OUT, "cases", NULL, NULL, "print a row a case instead of the scaling table")                              \
    X(PHASES, OUT, "phases", NULL, NULL, "print where the time of each case went")                                     \
    X(MODELS, OUT, "models", NULL, NULL, "print models of scaling, fitted to each series")                             \
    X(METRIC, OUT, "metric", "NAMES", "[the usual ones]", "columns of the table of cases")                             \
    X(THRESHOLD, OUT, "threshold", "X", "2", "per cent by which a case may become slower")                             \
    X(LEVEL, OUT, "ci", "X", "0.95", "coverage of the intervals; significant is what has p below 1 - X")               \
    X(FORMAT, OUT, "format", "NAME", "text", "of the table: text, markdown, csv")                                      \
    X(PLOT, OUT, "plot", "FILE", NULL, "draw the scaling: FILE.png, FILE.svg or FILE.pdf (needs gnuplot)")             \
    X(ROOFLINE, OUT, "roofline", "FILE", NULL, "draw rates under what bounds them, in the same way")                   \
    X(TIMELINE, OUT, "timeline", "FILE", NULL, "draw one repetition of each case, a bar a rank, in the same way")      \
    X(TRACE, OUT, "trace", "FILE", NULL, "the same as a Chrome trace, for Perfetto; with - on stdout")                 \
    X(JSON, OUT, "json", "FILE", NULL, "google-benchmark's JSON; with - on stdout, the table on stderr")               \
    X(CSV, OUT, "csv", "FILE", NULL, "all factors and outcomes; with - on stdout, the table on stderr")                \
    X(EXTRAP, OUT, "extrap", "FILE", NULL, "points of the scaling series for Extra-P, as JSON Lines (FILE.jsonl)")     \
    X(CURVE, OUT, "plot", "FILE", NULL,                                                                                \
      "draw the loss over the steps, beside that of the training files given: FILE.png, FILE.svg or FILE.pdf (needs "  \
      "gnuplot)")                                                                                                      \
    X(CHECKPOINT_EVERY, OUT, "checkpoint-every", "N", "0", "write --output after every N steps; 0: at the end")        \
    X(CONTINUE, OUT, "resume", NULL, NULL, "continue the training in --output, where there is one")                    \
    X(RESUME, OUT, "resume", NULL, NULL, "continue --output: finished cases are not run again")                        \
    X(QUIET, OUT, "quiet", NULL, NULL, "no progress and no warnings")                                                  \
    X(HELP, OUT, "help", NULL, NULL, "show this help; also -h")

typedef enum option_key {
#define OPTION_ENUM(key, group, name, value, fallback, help) OPTION_##key,
    OPTION_LIST(OPTION_ENUM)
#undef OPTION_ENUM
        OPTION_COUNT
} option_key;

/* A default that an option has in one subcommand. */
typedef struct option_default {
    option_key key;
    const char *text;
} option_default;

/* What a subcommand accepts; constant. --help is always taken. */
typedef struct option_set {
    const char *usage;      /* "attnbench run [OPTION...]" */
    const char *about;      /* a paragraph */
    const char *examples;   /* lines */
    const option_key *keys; /* [count] */
    size_t count;
    const option_default *defaults; /* [default_count] in place of those of the list */
    size_t default_count;
    bool takes_files; /* whether arguments beside options are accepted */
} option_set;

typedef struct options options;

/* Splits a command line. out is NULL on failure. ATTN_ARGUMENT naming what is wrong. argv must outlive the options. */
attn_status options_parse(const option_set *set, int argc, char **argv, options **out, attn_error *error);
void options_destroy(options *given);

/* Whether an option was given; its value, or else its default (NULL when there is none). */
bool option_given(const options *given, option_key key);
const char *option_text(const options *given, option_key key);

/* "--seq", for messages. */
const char *option_label(option_key key);

/* Values with their names in messages; see parse.h. */
attn_status option_integer(const options *given, option_key key, number_kind kind, int64_t *out, attn_error *error);
attn_status option_real(const options *given, option_key key, real_kind kind, double *out, attn_error *error);

/* Arguments beside options. */
size_t options_files(const options *given, const char *const **files);

/* Reads --pass; forward where it is not given or not taken. */
attn_status options_pass(const options *given, attn_pass *out, attn_error *error);

/* Prints the help of a subcommand on stdout. */
void options_help(const option_set *set);

#endif

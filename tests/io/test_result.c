/* Result files: written case by case, joined, resumed, locked, read together. Rank 0 writes; the others look on. */
#include "folder.h"

#include "io/h5.h"

#include <attn/result.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A case of `reps` repetitions, told apart by its sequence length. */
static attn_result *make_case(int64_t seq, const char *launch, attn_case_status status, int64_t reps)
{
    attn_result *result = NULL;

    TEST_OK(attn_result_create(&result, &attn_test_error));
    attn_attributes_set_integer(result->factors, "seq", seq);
    attn_attributes_set_text(result->factors, "dtype", "float32");
    attn_attributes_set_real(result->factors, "softcap", 0.1);
    attn_attributes_set_integer(result->factors, "batch", 1);
    attn_attributes_set_text(result->factors, "input", "");
    attn_attributes_id(result->factors, result->id);
    snprintf(result->launch_id, sizeof result->launch_id, "%s", launch);
    result->status = status;
    attn_attributes_set_text(result->outcomes, "reason", "ångström, \"quoted\"");
    attn_attributes_set_real(result->outcomes, "flops", 1e300);
    attn_attributes_set_real(result->outcomes, "max_error", INFINITY);
    attn_attributes_set_integer(result->outcomes, "converged", 1);
    attn_attributes_set_integer(result->outcomes, "smallest", INT64_MIN);
    result->reps = reps;
    result->ranks = reps > 0 ? 3 : 0;
    result->phases = reps > 0 ? ATTN_PHASE_COUNT : 0;
    result->samples = calloc((size_t)(reps * result->ranks * result->phases) + 1, sizeof *result->samples);
    for (int64_t i = 0; i < reps * result->ranks * result->phases; i++)
        result->samples[i] = (double)(seq * 1000 + i) / 3;
    return result;
}

/* Gives a case a timeline of so many events. */
static void add_timeline(attn_result *result, int64_t events)
{
    result->events = events;
    result->events_lost = 7;
    result->timeline = calloc((size_t)events, sizeof *result->timeline);
    for (int64_t i = 0; i < events; i++)
        result->timeline[i] = (attn_event){.rank = i % result->ranks,
                                           .phase = (attn_phase)(i % ATTN_PHASE_COUNT),
                                           .begin = (double)i / 3,
                                           .end = (double)(i + 1) / 3};
}

static void check_same_timeline(const attn_result *got, const attn_result *want)
{
    CU_ASSERT_EQUAL_FATAL(got->events, want->events);
    CU_ASSERT_EQUAL(got->events_lost, want->events_lost);
    CU_ASSERT_EQUAL(got->timeline != NULL, want->events > 0);
    for (int64_t i = 0; i < want->events; i++) {
        const attn_event *const g = &got->timeline[i], *const w = &want->timeline[i];

        CU_ASSERT(g->rank == w->rank && g->phase == w->phase && g->begin == w->begin && g->end == w->end);
    }
}

static void check_same_list(const attn_attributes *got, const attn_attributes *want)
{
    CU_ASSERT_EQUAL_FATAL(attn_attributes_count(got), attn_attributes_count(want));
    for (size_t i = 0; i < attn_attributes_count(want); i++) {
        const attn_attribute *const g = attn_attributes_at(got, i), *const w = attn_attributes_at(want, i);
        char got_text[64], want_text[64];

        attn_attribute_format(g, got_text, sizeof got_text);
        attn_attribute_format(w, want_text, sizeof want_text);
        CU_ASSERT_STRING_EQUAL(g->name, w->name);
        CU_ASSERT_EQUAL(g->kind, w->kind);
        CU_ASSERT_STRING_EQUAL(got_text, want_text);
    }
}

static void check_same_case(const attn_result *got, const attn_result *want)
{
    CU_ASSERT_STRING_EQUAL(got->id, want->id);
    CU_ASSERT_STRING_EQUAL(got->launch_id, want->launch_id);
    CU_ASSERT_EQUAL(got->status, want->status);
    check_same_list(got->factors, want->factors);
    check_same_list(got->outcomes, want->outcomes);
    CU_ASSERT_EQUAL_FATAL(got->reps, want->reps);
    CU_ASSERT_EQUAL_FATAL(got->ranks, want->ranks);
    CU_ASSERT_EQUAL_FATAL(got->phases, want->phases);
    if (want->reps > 0)
        CU_ASSERT_EQUAL(memcmp(got->samples, want->samples,
                               (size_t)(want->reps * want->ranks * want->phases) * sizeof *want->samples),
                        0);
    check_same_timeline(got, want);
}

static attn_attributes *make_environment(const char *launch)
{
    attn_attributes *environment = NULL;
    char *const text = calloc(100001, 1);

    TEST_OK(attn_attributes_create(&environment, &attn_test_error));
    attn_attributes_set_text(environment, "hostname", "node-1");
    attn_attributes_set_text(environment, "launch_of", launch);
    attn_attributes_set_integer(environment, "cpus", 128);
    attn_attributes_set_real(environment, "load_1min", 0.25);
    attn_attributes_set_text(environment, "env.SLURM_JOB_NODELIST", memset(text, 'n', 100000));
    free(text);
    return environment;
}

static attn_result_writer *open_writer(const char *path, bool resume, const char *launch)
{
    attn_attributes *const environment = make_environment(launch);
    attn_result_writer *writer = NULL;

    TEST_OK(attn_result_writer_open(path, resume, launch, environment, &writer, &attn_test_error));
    attn_attributes_destroy(environment);
    return writer;
}

/* Opens what must be refused. */
static void expect_refusal(const char *path, bool resume, const char *launch, attn_status status, const char *words)
{
    attn_attributes *const environment = make_environment(launch);
    attn_result_writer *writer = NULL;
    attn_error error = ATTN_ERROR_INIT;

    CU_ASSERT_EQUAL(attn_result_writer_open(path, resume, launch, environment, &writer, &error), status);
    CU_ASSERT_PTR_NULL(writer);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, words));
    if (strstr(error.message, words) == NULL)
        fprintf(stderr, "%s\n", error.message);
    attn_result_writer_close(writer, false, NULL);
    attn_attributes_destroy(environment);
}

static void put(attn_result_writer *writer, int64_t seq, const char *launch, attn_case_status status, int64_t reps)
{
    attn_result *const result = make_case(seq, launch, status, reps);

    TEST_OK(attn_result_writer_put(writer, result, NULL, 0, &attn_test_error));
    attn_result_destroy(result);
}

static bool has(const attn_result_writer *writer, int64_t seq)
{
    attn_result *const result = make_case(seq, "x", ATTN_CASE_VALID, 0);
    const bool there = attn_result_writer_has(writer, result->id);

    attn_result_destroy(result);
    return there;
}

/* Reads one path; results are destroyed by the caller. */
static attn_results *read_one(const char *path)
{
    attn_results *results = NULL;

    TEST_OK(attn_results_read(&path, 1, &results, &attn_test_error));
    return results;
}

static void expect_cases(const char *path, size_t cases, size_t launches)
{
    attn_results *const results = read_one(path);

    if (results != NULL) {
        CU_ASSERT_EQUAL(results->count, cases);
        CU_ASSERT_EQUAL(results->environment_count, launches);
    }
    attn_results_destroy(results);
}

static void expect_unreadable(const char *path, const char *words)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_results *results = NULL;

    CU_ASSERT_NOT_EQUAL(attn_results_read(&path, 1, &results, &error), ATTN_OK);
    CU_ASSERT_PTR_NULL(results);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, words));
    if (strstr(error.message, words) == NULL)
        fprintf(stderr, "%s\n", error.message);
}

/* ---- Tests, on rank 0 in a folder of their own ---- */

static void round_trip(void)
{
    char path[PATH_SIZE], part[PATH_SIZE];
    attn_result_writer *const writer = open_writer(folder_path("r.h5", path), false, "launch-1");
    attn_result *const cases[3] = {make_case(9, "launch-1", ATTN_CASE_VALID, 5),
                                   make_case(1, "launch-1", ATTN_CASE_SKIPPED, 0),
                                   make_case(4, "launch-1", ATTN_CASE_INVALID, 2)};
    attn_results *results;

    add_timeline(cases[0], 20);
    for (int i = 0; i < 3; i++) {
        TEST_OK(attn_result_writer_put(writer, cases[i], part, sizeof part, &attn_test_error));
        CU_ASSERT_EQUAL(access(part, F_OK), 0);
        expect_cases(part, 1, 1);
        expect_cases(path, (size_t)i + 1, 1); /* parts are read before they are joined */
    }
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
    TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
    CU_ASSERT_EQUAL(folder_count(""), 1);
    results = read_one(path);
    CU_ASSERT_EQUAL_FATAL(results->count, 3);
    CU_ASSERT_EQUAL_FATAL(results->environment_count, 1);
    for (int i = 0; i < 3; i++) {
        check_same_case(results->cases[i], cases[i]);
        attn_result_destroy(cases[i]);
    }
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(results->environments[0], "launch_id", ""), "launch-1");
    CU_ASSERT_STRING_EQUAL(attn_attributes_text(results->environments[0], "hostname", ""), "node-1");
    CU_ASSERT_EQUAL(attn_attributes_integer(results->environments[0], "cpus", 0), 128);
    CU_ASSERT_EQUAL(strlen(attn_attributes_text(results->environments[0], "env.SLURM_JOB_NODELIST", "")), 100000);
    attn_results_destroy(results);
}

static void resume(void)
{
    static const int64_t reps[] = {0, 2, 3, 4, 1}; /* of the last measurement of each case, by seq */
    char path[PATH_SIZE];
    attn_result_writer *writer = open_writer(folder_path("r.h5", path), false, "one");
    attn_results *results;

    put(writer, 1, "one", ATTN_CASE_VALID, 2);
    put(writer, 2, "one", ATTN_CASE_SKIPPED, 0);
    put(writer, 3, "one", ATTN_CASE_INTERRUPTED, 1);
    CU_ASSERT(!has(writer, 1)); /* of an earlier launch, not of this one */
    TEST_OK(attn_result_writer_close(writer, false, &attn_test_error));
    CU_ASSERT_EQUAL(folder_count("r.h5.parts"), 3);

    /* The second launch leaves its parts too, and a killed third one a file without its final name. */
    expect_refusal(path, false, "two", ATTN_ARGUMENT,
                   "r.h5.parts exists; use --resume to continue it or choose another");
    writer = open_writer(path, true, "two");
    CU_ASSERT(has(writer, 1) && !has(writer, 2) && !has(writer, 3) && !has(writer, 4));
    put(writer, 3, "two", ATTN_CASE_VALID, 4);
    TEST_OK(attn_result_writer_close(writer, false, &attn_test_error));
    folder_write("r.h5.parts/0123.h5.tmp", "rubbish", 7);
    folder_write("r.h5.tmp", "rubbish", 7);

    writer = open_writer(path, true, "three");
    CU_ASSERT(has(writer, 1) && !has(writer, 2) && has(writer, 3));
    CU_ASSERT_EQUAL(folder_count("r.h5.parts"), 3);
    TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
    CU_ASSERT_EQUAL(folder_count(""), 1);
    expect_refusal(path, false, "four", ATTN_ARGUMENT, "r.h5 exists; use --resume to continue it or choose another");
    CU_ASSERT_EQUAL(folder_count(""), 1);

    /* A complete file is added to; a case measured again replaces the earlier one. */
    writer = open_writer(path, true, "five");
    CU_ASSERT(has(writer, 1) && !has(writer, 2) && has(writer, 3) && !has(writer, 4));
    put(writer, 4, "five", ATTN_CASE_VALID, 1);
    put(writer, 2, "five", ATTN_CASE_VALID, 3);
    TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
    results = read_one(path);
    CU_ASSERT_EQUAL(results->count, 4);
    CU_ASSERT_EQUAL(results->environment_count, 4); /* one, two, three, five */
    for (size_t i = 0; i < results->count; i++) {
        const attn_result *const r = results->cases[i];

        CU_ASSERT_EQUAL(r->status, ATTN_CASE_VALID);
        CU_ASSERT_EQUAL(r->reps, reps[attn_attributes_integer(r->factors, "seq", 0)]);
    }
    attn_results_destroy(results);
}

static void nothing_to_add(void)
{
    char path[PATH_SIZE];
    struct stat before, after;

    /* A sweep without a case leaves a readable file. */
    TEST_OK(attn_result_writer_close(open_writer(folder_path("r.h5", path), true, "one"), true, &attn_test_error));
    expect_cases(path, 0, 1);
    CU_ASSERT_EQUAL(stat(path, &before), 0);
    TEST_OK(attn_result_writer_close(open_writer(path, true, "two"), true, &attn_test_error));
    CU_ASSERT_EQUAL(stat(path, &after), 0);
    CU_ASSERT_EQUAL(before.st_ino, after.st_ino);
    TEST_OK(attn_result_writer_close(open_writer(path, true, "three"), false, &attn_test_error));
    TEST_OK(attn_result_writer_close(NULL, true, &attn_test_error));
    CU_ASSERT_EQUAL(folder_count(""), 1);
}

/* A process that writes and is killed: its lock goes, its finished case stays. */
static void second_writer(void)
{
    char path[PATH_SIZE], byte = 0;
    int ready[2];
    attn_result_writer *writer;
    pid_t child;

    folder_path("r.h5", path);
    writer = open_writer(path, false, "one");
    expect_refusal(path, true, "two", ATTN_ARGUMENT, "r.h5: another attnbench is writing it (lock ");
    TEST_OK(attn_result_writer_close(writer, false, &attn_test_error));
    CU_ASSERT_EQUAL(folder_count(""), 0);

    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        writer = open_writer(path, false, "child");
        put(writer, 1, "child", ATTN_CASE_VALID, 2);
        byte = write(ready[1], "r", 1) == 1;
        for (;;)
            pause();
    }
    close(ready[1]);
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    expect_refusal(path, true, "two", ATTN_ARGUMENT, "another attnbench is writing it");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    expect_refusal(path, false, "two", ATTN_ARGUMENT, "use --resume");
    writer = open_writer(path, true, "two");
    CU_ASSERT(has(writer, 1));
    TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
    expect_cases(path, 1, 2);
    CU_ASSERT_EQUAL(folder_count(""), 1);
}

static void read_together(void)
{
    char a[PATH_SIZE], b[PATH_SIZE], c[PATH_SIZE];
    attn_result_writer *writer;
    attn_results *results = NULL;

    writer = open_writer(folder_path("a.h5", a), false, "one");
    put(writer, 1, "one", ATTN_CASE_VALID, 2);
    put(writer, 2, "one", ATTN_CASE_VALID, 2);
    TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
    writer = open_writer(folder_path("b.h5", b), false, "two");
    put(writer, 1, "two", ATTN_CASE_VALID, 2); /* the same case of another launch */
    put(writer, 3, "two", ATTN_CASE_VALID, 2);
    TEST_OK(attn_result_writer_close(writer, false, &attn_test_error));
    folder_path("b.h5.parts", c);
    expect_cases(a, 2, 1);
    expect_cases(b, 2, 1);
    expect_cases(c, 2, 1);
    expect_cases(test_folder, 4, 2);
    TEST_OK(attn_results_read((const char *const[]){a, b, c, test_folder}, 4, &results, &attn_test_error));
    CU_ASSERT_EQUAL(results->count, 4);
    CU_ASSERT_EQUAL(results->environment_count, 2);
    attn_results_destroy(results);
}

/* Changes one number of a timeline in a file, or with a NULL name puts a column of one event less in its place. */
static void spoil(const char *path, const char *id, const char *column, double value)
{
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hsize_t count = 1, at = 2;
    char name[128];
    hid_t data, space, memory = H5Screate_simple(1, &count, NULL);

    snprintf(name, sizeof name, "cases/%s/timeline/%s", id, column != NULL ? column : "end");
    if (column == NULL) {
        H5Ldelete(file, name, H5P_DEFAULT);
        data = H5Dcreate2(file, name, H5T_NATIVE_DOUBLE, memory, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dclose(data);
    } else {
        data = H5Dopen2(file, name, H5P_DEFAULT);
        space = H5Dget_space(data);
        H5Sselect_hyperslab(space, H5S_SELECT_SET, &at, NULL, &count, NULL);
        CU_ASSERT(H5Dwrite(data, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, &value) >= 0);
        H5Sclose(space);
        H5Dclose(data);
    }
    H5Sclose(memory);
    H5Fclose(file);
}

/* Whoever draws a timeline relies on its numbers. */
static void bad_timeline(void)
{
    static const struct {
        const char *column;
        double value;
        const char *words;
    } bad[] = {
        {"rank", 3, "/timeline: event 2 has rank 3, phase 2"},
        {"rank", -1, "/timeline: event 2 has rank -1"},
        {"phase", ATTN_PHASE_COUNT, "; a rank and a phase of the samples and 0 <= begin <= end are needed"},
        {"begin", -0.5, "begin -0.5"},
        {"end", 0.5, "end 0.5"},
        {"end", NAN, "end nan"},
        {NULL, 0, "/timeline: dataset end cannot be used; [event], the same for all of them, is needed"},
    };
    char path[PATH_SIZE];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        attn_result_writer *const writer = open_writer(folder_path("r.h5", path), false, "one");
        attn_result *const result = make_case(1, "one", ATTN_CASE_VALID, 2);

        add_timeline(result, 4);
        TEST_OK(attn_result_writer_put(writer, result, NULL, 0, &attn_test_error));
        TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
        expect_cases(path, 1, 1);
        spoil(path, result->id, bad[i].column, bad[i].value);
        expect_unreadable(path, bad[i].words);
        attn_result_destroy(result);
        unlink(path);
    }
}

static void write_input_file(const char *path)
{
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    attn_h5_write_text(file, "schema", "attn-input");
    attn_h5_write_integer(file, "schema_version", 1);
    H5Fclose(file);
}

/* Reads a folder past the files that are named here, in the order of their names. */
static void expect_passed_over(const char *path, const char *const *words, size_t count)
{
    attn_results *results;

    TEST_OK(attn_results_read(&path, 1, &results, &attn_test_error));
    CU_ASSERT_EQUAL_FATAL(results->passed_over_count, count);
    for (size_t i = 0; i < count; i++)
        CU_ASSERT_PTR_NOT_NULL(strstr(results->passed_over[i], words[i]));
    attn_results_destroy(results);
}

static void unreadable(void)
{
    char path[PATH_SIZE], other[PATH_SIZE];
    attn_result_writer *writer;

    expect_unreadable(folder_path("missing.h5", path), "missing.h5: No such file");
    expect_unreadable(test_folder, "no result file in it");
    write_input_file(folder_path("input.h5", other));
    expect_unreadable(other, "\"attn-input\"; \"attn-results\" is needed");
    expect_unreadable(test_folder, "no result file in it");
    expect_refusal(other, true, "two", ATTN_INPUT, "\"attn-results\" is needed");

    /* A folder is read past files that are something else, which are named, but not past a damaged part. */
    writer = open_writer(folder_path("r.h5", path), false, "one");
    put(writer, 1, "one", ATTN_CASE_VALID, 2);
    TEST_OK(attn_result_writer_close(writer, false, &attn_test_error));
    folder_write("note.h5", "not HDF5", 8);
    expect_passed_over(test_folder, (const char *const[]){"input.h5: attribute schema is", "note.h5: not an HDF5 file"},
                       2);
    expect_cases(test_folder, 1, 1);
    folder_write("r.h5.parts/feed.h5", "\x89HDF\r\n\x1a\n and then nothing", 24);
    expect_unreadable(test_folder, "feed.h5: a damaged HDF5 file");
    expect_unreadable(path, "feed.h5: a damaged HDF5 file");
    expect_refusal(path, true, "two", ATTN_INPUT, "feed.h5: a damaged HDF5 file");
    CU_ASSERT_NOT_EQUAL(access(folder_path("r.h5.lock", other), F_OK), 0);
}

static void bad_targets(void)
{
    char path[PATH_SIZE];
    attn_result_writer *writer;
    attn_result *result;
    attn_error error = ATTN_ERROR_INIT;

    expect_refusal(folder_path("no/where/r.h5", path), false, "one", ATTN_ARGUMENT, "no/where: No such file");
    expect_refusal(test_folder, false, "one", ATTN_ARGUMENT, "not a regular file");
    expect_refusal(folder_path("r.h5", path), false, "a/b", ATTN_ARGUMENT, "a/b");
    expect_refusal(path, false, "", ATTN_ARGUMENT, "1 to 63");
    folder_write("r.h5.parts", "", 0);
    expect_refusal(path, false, "one", ATTN_FILE, "r.h5.parts: not a folder");
    CU_ASSERT_EQUAL(folder_count(""), 1);
    CU_ASSERT_EQUAL(unlink(folder_path("r.h5.parts", path)), 0);

    writer = open_writer(folder_path("r.h5", path), false, "one");
    result = make_case(1, "one", ATTN_CASE_VALID, 1);
    attn_attributes_set_text(result->outcomes, "status", "fine");
    CU_ASSERT_EQUAL(attn_result_writer_put(writer, result, NULL, 0, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "status"));
    attn_result_destroy(result);
    TEST_OK(attn_result_writer_close(writer, false, &attn_test_error));
    CU_ASSERT_EQUAL(folder_count(""), 0);
}

/* Files cannot grow past the limit, as on a full disk: finished cases stay, and nothing else. */
static void no_space(void)
{
    char path[PATH_SIZE];
    attn_result_writer *writer = open_writer(folder_path("r.h5", path), false, "one");
    attn_result *const large = make_case(2, "one", ATTN_CASE_VALID, 2000);
    struct rlimit unlimited, limited;
    attn_error error = ATTN_ERROR_INIT;

    put(writer, 1, "one", ATTN_CASE_VALID, 5);
    signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    limited = unlimited;
    limited.rlim_cur = 200000; /* more than a small part has */
    setrlimit(RLIMIT_FSIZE, &limited);
    CU_ASSERT_EQUAL(attn_result_writer_put(writer, large, NULL, 0, &error), ATTN_FILE);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, strerror(EFBIG)));
    CU_ASSERT_EQUAL(folder_count("r.h5.parts"), 1);
    put(writer, 3, "one", ATTN_CASE_VALID, 5);
    limited.rlim_cur = 100000; /* less than the joined file has */
    setrlimit(RLIMIT_FSIZE, &limited);
    CU_ASSERT_EQUAL(attn_result_writer_close(writer, true, &error), ATTN_FILE);
    setrlimit(RLIMIT_FSIZE, &unlimited);
    CU_ASSERT_EQUAL(folder_count(""), 1);
    expect_cases(path, 2, 1);
    writer = open_writer(path, true, "two");
    CU_ASSERT(has(writer, 1) && !has(writer, 2) && has(writer, 3));
    TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
    expect_cases(path, 2, 2);
    attn_result_destroy(large);
}

/* A test in a folder of its own, on rank 0. */
static void on_rank_0(void (*test)(void))
{
    folder_make();
    if (test_rank() == 0)
        test();
    folder_remove();
}

static void test_round_trip(void)
{
    on_rank_0(round_trip);
}
static void test_resume(void)
{
    on_rank_0(resume);
}
static void test_nothing_to_add(void)
{
    on_rank_0(nothing_to_add);
}
static void test_second_writer(void)
{
    on_rank_0(second_writer);
}
static void test_read_together(void)
{
    on_rank_0(read_together);
}
static void test_unreadable(void)
{
    on_rank_0(unreadable);
}
static void test_bad_timeline(void)
{
    on_rank_0(bad_timeline);
}
static void test_bad_targets(void)
{
    on_rank_0(bad_targets);
}
static void test_no_space(void)
{
    on_rank_0(no_space);
}

/* Files that stay open in a failing path would pile up over a long sweep. Runs last. */
static void test_nothing_open(void)
{
    CU_ASSERT_EQUAL(H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
}

static const attn_test tests[] = {
    {"put, join, read", test_round_trip},
    {"resume", test_resume},
    {"nothing to add", test_nothing_to_add},
    {"a second writer, and a killed one", test_second_writer},
    {"files, folders and parts together", test_read_together},
    {"what cannot be read is named", test_unreadable},
    {"a timeline that makes no sense", test_bad_timeline},
    {"what cannot be written is named", test_bad_targets},
    {"no space", test_no_space},
    {"nothing stays open", test_nothing_open},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "io/result", tests, sizeof tests / sizeof tests[0]);
}

/* Every row of the table of metrics, on a case that has everything a metric may ask for. */
#include "harness.h"

#include <attn/metric.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

static const char *const factor_names[] = {"batch", "seq", "ranks"};
static const double factor_values[] = {2, 1024, 4};
static const char *const outcome_names[] = {"flops",        "fma_peak",        "input_bytes",       "bound_seconds",
                                            "memory_bytes", "bytes_predicted", "predicted_seconds", "model_seconds"};
static const double outcome_values[] = {8e9, 1e11, 5e8, 0.4, 2e9, 3e7, 0.3, 0.6};

enum {
    FACTORS = sizeof factor_values / sizeof factor_values[0],
    OUTCOMES = sizeof outcome_values / sizeof outcome_values[0]
};

/* The value with everything but the left_out-th input; -1 leaves none out. */
static double value_without(const attn_metric *metric, int left_out, double seconds)
{
    attn_attributes *factors, *outcomes;
    double value;

    TEST_OK(attn_attributes_create(&factors, &attn_test_error));
    TEST_OK(attn_attributes_create(&outcomes, &attn_test_error));
    for (int i = 0; i < FACTORS; i++)
        if (i != left_out)
            attn_attributes_set_integer(factors, factor_names[i], (int64_t)factor_values[i]);
    for (int i = 0; i < OUTCOMES; i++)
        if (FACTORS + i != left_out)
            attn_attributes_set_real(outcomes, outcome_names[i], outcome_values[i]);
    value = attn_metric_value(metric, factors, outcomes, seconds);
    attn_attributes_destroy(factors);
    attn_attributes_destroy(outcomes);
    return value;
}

static void test_every_metric_has_a_value(void)
{
    for (size_t m = 0; m < attn_metric_count(); m++) {
        const attn_metric *metric = attn_metric_at(m);

        CU_ASSERT(isfinite(value_without(metric, -1, 0.5)));
        CU_ASSERT(value_without(metric, -1, 0.5) > 0);
    }
}

/* All of them are rates: twice the time, half the value. */
static void test_inverse_in_time(void)
{
    for (size_t m = 0; m < attn_metric_count(); m++) {
        const attn_metric *metric = attn_metric_at(m);

        TEST_CLOSE(2 * value_without(metric, -1, 1), value_without(metric, -1, 0.5), 1e-14);
        CU_ASSERT(isnan(value_without(metric, -1, 0)));
        CU_ASSERT(isnan(value_without(metric, -1, -1)));
        CU_ASSERT(isnan(value_without(metric, -1, NAN)));
    }
}

/* Without an input that it asks for there is no value; what it does not ask for changes nothing. */
static void test_missing_inputs(void)
{
    for (size_t m = 0; m < attn_metric_count(); m++) {
        const attn_metric *metric = attn_metric_at(m);
        const double whole = value_without(metric, -1, 0.5);
        int needed = 0;

        for (int i = 0; i < FACTORS + OUTCOMES; i++) {
            const double value = value_without(metric, i, 0.5);

            needed += isnan(value) != 0;
            CU_ASSERT(isnan(value) || value == whole);
        }
        CU_ASSERT(needed >= 1);
    }
}

static void test_words(void)
{
    size_t usual = 0;

    for (size_t m = 0; m < attn_metric_count(); m++) {
        const attn_metric *metric = attn_metric_at(m);

        CU_ASSERT_PTR_EQUAL(attn_metric_find(attn_metric_name(metric)), metric); /* so names differ */
        CU_ASSERT_EQUAL(strcspn(attn_metric_name(metric), "|<, "), strlen(attn_metric_name(metric)));
        CU_ASSERT_EQUAL(strcspn(attn_metric_heading(metric), "|<,"), strlen(attn_metric_heading(metric)));
        CU_ASSERT(strlen(attn_metric_unit(metric)) > 0 && strlen(attn_metric_summary(metric)) > 0);
        CU_ASSERT(attn_metric_digits(metric) >= 1 && attn_metric_digits(metric) <= 9);
        CU_ASSERT((unsigned)attn_metric_phase(metric) < ATTN_PHASE_COUNT);
        usual += attn_metric_usual(metric);
        for (size_t other = 0; other < m; other++)
            CU_ASSERT(strcmp(attn_metric_heading(metric), attn_metric_heading(attn_metric_at(other))) != 0);
    }
    CU_ASSERT(usual > 0);
    CU_ASSERT_PTR_NULL(attn_metric_find("nosuchmetric"));
}

static void test_values(void)
{
    TEST_CLOSE(value_without(attn_metric_find("gflops"), -1, 0.5), 16, 1e-14);
    TEST_CLOSE(value_without(attn_metric_find("fma-percent"), -1, 0.5), 16, 1e-14);
    TEST_CLOSE(value_without(attn_metric_find("bound-percent"), -1, 0.5), 80, 1e-14);
    TEST_CLOSE(value_without(attn_metric_find("memory-bandwidth"), -1, 0.5), 4, 1e-14);
    TEST_CLOSE(value_without(attn_metric_find("tokens"), -1, 0.5), 4096, 1e-14);
    TEST_CLOSE(value_without(attn_metric_find("input-bandwidth"), -1, 0.5), 1, 1e-14);
    TEST_CLOSE(value_without(attn_metric_find("sent-bandwidth"), -1, 0.5), 0.06, 1e-14);
    CU_ASSERT_EQUAL(attn_metric_phase(attn_metric_find("input-bandwidth")), ATTN_PHASE_INPUT_READ);
}

static const attn_test tests[] = {
    {"every metric has a value", test_every_metric_has_a_value},
    {"rates are inverse in time", test_inverse_in_time},
    {"a missing input makes no number", test_missing_inputs},
    {"names, headings and words", test_words},
    {"values by hand", test_values},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "measure/metric", tests, sizeof tests / sizeof tests[0]);
}

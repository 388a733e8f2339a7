/* Models fitted to series with known answers. */
#include "study/models.h"
#include "study/synthetic.h"

#include <math.h>

enum { POINTS = 6 };

/* Fits the models of the only series of some cases. */
static attn_models fit(attn_results *results, attn_scaling **scaling)
{
    attn_models models = {.count = 0};

    TEST_OK(attn_scaling_find(results, scaling, &attn_test_error));
    CU_ASSERT_EQUAL_FATAL((*scaling)->count, 1);
    TEST_OK(attn_models_fit(results, &(*scaling)->series[0], 0.95, &models, &attn_test_error));
    return models;
}

static const attn_model_fit *find(const attn_models *models, const char *name)
{
    for (size_t m = 0; m < models->fit_count; m++)
        if (strcmp(attn_model_name(models->fits[m].model), name) == 0)
            return &models->fits[m];
    return NULL;
}

static int holds(const attn_estimate *estimate, double truth)
{
    return estimate->lo <= truth && truth <= estimate->hi && estimate->lo <= estimate->value &&
           estimate->value <= estimate->hi;
}

/* 1, 2, 4, ... ranks with the noise of a quiet machine. */
static void fill(synthetic *cases, double (*seconds)(double p), uint64_t draw)
{
    for (size_t i = 0; i < POINTS; i++)
        cases[i] = (synthetic){.ranks = 1 << i, .noise = 0.005, .draw = draw * POINTS + i};
    for (size_t i = 0; i < POINTS; i++)
        cases[i].seconds = seconds((double)cases[i].ranks);
}

/* The median of what synthetic_noise makes is a little above 1 for its stragglers, alike at all points. */
static double amdahl_time(double p)
{
    return 0.08 + 0.92 / p;
}

static double usl_time(double p)
{
    return (1 + 0.03 * (p - 1) + 0.0006 * p * (p - 1)) / p;
}

/* In at least 18 of 20 samples the interval of 95 % holds the planted serial fraction, and the prediction of 32 ranks
 * agrees with what was measured. */
static void test_amdahl(void)
{
    enum { TRIALS = 20 };
    int held = 0, predicted = 0;

    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        synthetic cases[POINTS];
        attn_results *results;
        attn_scaling *scaling;
        attn_models models;
        const attn_model_fit *amdahl;

        fill(cases, amdahl_time, trial);
        results = synthetic_make(cases, POINTS);
        models = fit(results, &scaling);
        amdahl = find(&models, "amdahl");
        CU_ASSERT_PTR_NOT_NULL_FATAL(amdahl);
        CU_ASSERT_STRING_EQUAL(amdahl->reason, "");
        CU_ASSERT(fabs(amdahl->parameters[0].value - 0.08) < 0.002);
        CU_ASSERT_PTR_NULL(find(&models, "gustafson"));
        held += holds(&amdahl->parameters[0], 0.08);
        predicted += fabs(amdahl->prediction.value / amdahl_time(32) - 1) < 0.02;
        attn_models_release(&models);
        attn_scaling_destroy(scaling);
        synthetic_release(results);
    }
    CU_ASSERT(held >= TRIALS * 9 / 10);
    CU_ASSERT_EQUAL(predicted, TRIALS);
}

static void test_usl(void)
{
    synthetic cases[POINTS];
    attn_results *results;
    attn_scaling *scaling;
    attn_models models;
    const attn_model_fit *usl, *amdahl;

    fill(cases, usl_time, 3);
    results = synthetic_make(cases, POINTS);
    models = fit(results, &scaling);
    usl = find(&models, "usl");
    amdahl = find(&models, "amdahl");
    CU_ASSERT_PTR_NOT_NULL_FATAL(usl);
    CU_ASSERT_STRING_EQUAL(usl->reason, "");
    CU_ASSERT_TRUE(holds(&usl->parameters[0], 0.03));
    CU_ASSERT_TRUE(holds(&usl->parameters[1], 0.0006));
    CU_ASSERT_TRUE(holds(&usl->parameters[2], sqrt(0.97 / 0.0006)));
    CU_ASSERT(fabs(usl->parameters[1].value - 0.0006) < 0.0001);
    CU_ASSERT_TRUE(usl->prediction.lo < usl_time(32) * 1.02 && usl->prediction.hi > usl_time(32) * 0.98);
    CU_ASSERT(amdahl->worst > 2 * usl->worst || amdahl->reason[0] != '\0');
    attn_models_release(&models);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

/* Twice the ranks, twice the work: rate r (s + (1 - s) P) with s = 0.1. */
static void test_gustafson(void)
{
    synthetic cases[POINTS];
    attn_results *results;
    attn_scaling *scaling = NULL;
    attn_models models;
    const attn_model_fit *gustafson;

    for (size_t i = 0; i < POINTS; i++) {
        const double p = (double)(1 << i);

        cases[i] = (synthetic){.ranks = 1 << i,
                               .batch = 1 << i,
                               .scaling = "weak-batch",
                               .flops = 1e9 * p,
                               .seconds = 0.1 * p / (0.1 + 0.9 * p),
                               .noise = 0.005,
                               .draw = 40 + i};
    }
    results = synthetic_make(cases, POINTS);
    models = fit(results, &scaling);
    gustafson = find(&models, "gustafson");
    CU_ASSERT_PTR_NULL(find(&models, "amdahl"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(gustafson);
    CU_ASSERT_STRING_EQUAL(gustafson->reason, "");
    CU_ASSERT_TRUE(holds(&gustafson->parameters[0], 0.1));
    CU_ASSERT(fabs(gustafson->parameters[0].value - 0.1) < 0.01);
    CU_ASSERT(fabs(gustafson->prediction.value / cases[POINTS - 1].seconds - 1) < 0.02);
    attn_models_release(&models);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

/* The prediction knows nothing of the point that it is about. */
static void test_held_out(void)
{
    synthetic cases[POINTS];
    attn_results *results;
    attn_scaling *scaling;
    attn_models models;
    const attn_model_fit *amdahl;

    fill(cases, amdahl_time, 21);
    cases[POINTS - 1].seconds *= 1.08;
    results = synthetic_make(cases, POINTS);
    models = fit(results, &scaling);
    amdahl = find(&models, "amdahl");
    CU_ASSERT_STRING_EQUAL(amdahl->reason, "");
    CU_ASSERT(fabs(amdahl->prediction.value / amdahl_time(32) - 1) < 0.015);
    attn_models_release(&models);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

/* 2 GFLOP/s a rank, 20 us a message and 0.5 ns a byte, with an imbalance. */
static void plant_analytic(synthetic *cases)
{
    for (size_t i = 0; i < POINTS; i++) {
        const double p = (double)(1 << i);

        cases[i] = (synthetic){.ranks = 1 << i,
                               .flops = 4e8,
                               .imbalance = p > 1 ? 1.2 : 1,
                               .messages = 16 * (p - 1),
                               .bytes = 4e7 * (p - 1) / p,
                               .noise = 0.005,
                               .draw = 70 + i};
        cases[i].seconds =
            cases[i].flops * cases[i].imbalance / p / 2e9 + 20e-6 * cases[i].messages + 0.5e-9 * cases[i].bytes;
    }
}

static void test_analytic(void)
{
    synthetic cases[POINTS];
    attn_results *results;
    attn_scaling *scaling;
    attn_models models;
    const attn_model_fit *analytic;

    plant_analytic(cases);
    results = synthetic_make(cases, POINTS);
    models = fit(results, &scaling);
    analytic = find(&models, "analytic");
    CU_ASSERT_PTR_NOT_NULL_FATAL(analytic);
    CU_ASSERT_STRING_EQUAL(analytic->reason, "");
    CU_ASSERT(fabs(analytic->parameters[0].value - 2) < 0.03);
    CU_ASSERT_TRUE(holds(&analytic->parameters[1], 20));
    CU_ASSERT_TRUE(holds(&analytic->parameters[2], 0.5));
    CU_ASSERT(fabs(analytic->prediction.value / cases[POINTS - 1].seconds - 1) < 0.1);
    attn_models_release(&models);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

/* Without messages there is nothing to say of them, and fewer points do. */
static void test_no_messages(void)
{
    synthetic cases[3];
    attn_results *results;
    attn_scaling *scaling;
    attn_models models;
    const attn_model_fit *analytic;

    for (size_t i = 0; i < 3; i++)
        cases[i] = (synthetic){
            .ranks = 1 << i, .grid_head = 1 << i, .seconds = 0.5 / (double)(1 << i), .noise = 0.005, .draw = i};
    results = synthetic_make(cases, 3);
    models = fit(results, &scaling);
    analytic = find(&models, "analytic");
    CU_ASSERT_STRING_EQUAL(analytic->reason, "");
    CU_ASSERT(fabs(analytic->parameters[0].value - 2) < 0.03);
    CU_ASSERT_TRUE(isnan(analytic->parameters[1].value) && isnan(analytic->parameters[2].value));
    CU_ASSERT_STRING_EQUAL(find(&models, "amdahl")->reason, "3 points; 4 are needed, two more than it has terms");
    attn_models_release(&models);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

static double no_model(double p)
{
    return p < 3 ? 1 / p : p < 10 ? 1.5 / p : 0.6 / p;
}

static void test_refusals(void)
{
    synthetic cases[POINTS];
    attn_results *results;
    char *text;

    fill(cases, no_model, 5);
    for (size_t i = 0; i < POINTS; i++)
        cases[i].flops = -1;
    results = synthetic_make(cases, POINTS);
    text = synthetic_print(attn_study_print_models, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "not fitted: bad fit, off by ");
    TEST_HAS(text, "not fitted: FLOP, messages or bytes of 1 ranks are not known\n");
    TEST_HAS_NOT(text, "serial fraction");
    free(text);
    synthetic_release(results);

    fill(cases, amdahl_time, 5);
    cases[4].cores = 8;
    cases[5].cores = 8;
    results = synthetic_make(cases, POINTS);
    text = synthetic_print(attn_study_print_models, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "points: P = 1, 2, 4, 8 ranks; left out: 16 ranks (oversubscribed), 32 ranks (oversubscribed)\n");
    TEST_HAS(text, "serial fraction");
    TEST_HAS(text, "not fitted: 4 points; 5 are needed, two more than it has terms\n");
    free(text);
    synthetic_release(results);

    results = synthetic_make(cases, 1);
    text = synthetic_print(attn_study_print_models, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "1 case run at one rank count only: no model\n");
    free(text);
    synthetic_release(results);
}

/* The same file gives the same intervals; several launches are drawn by their medians. */
static void test_repeatable(void)
{
    synthetic cases[2 * POINTS];
    attn_results *results;
    char *first, *second;

    fill(cases, amdahl_time, 8);
    fill(cases + POINTS, amdahl_time, 9);
    for (size_t i = 0; i < POINTS; i++)
        cases[POINTS + i].launch = "launch-2";
    results = synthetic_make(cases, 2 * POINTS);
    first = synthetic_print(attn_study_print_models, results, ATTN_TABLE_CSV);
    second = synthetic_print(attn_study_print_models, results, ATTN_TABLE_CSV);
    CU_ASSERT_STRING_EQUAL(first, second);
    TEST_HAS(first, "series,model,parameter,value,lo,hi,");
    TEST_HAS(first, "\n1,amdahl,serial fraction,0.0");
    TEST_HAS(first, "\n1,usl,kappa,");
    free(first);
    free(second);
    synthetic_release(results);
}

static attn_status extrap(const attn_results *results, attn_table_format format, FILE *stream, attn_error *error)
{
    (void)format;
    return attn_study_write_extrap(results, stream, error);
}

static void test_extrap(void)
{
    synthetic cases[] = {
        {.seconds = 0.5},
        {.ranks = 2, .seconds = 0.25},
        {.ranks = 2, .seconds = 0.3, .exchange = "ring"},
        {.ranks = 4, .seconds = 0.2, .exchange = "ring"}, /* a point that the other lacks */
        {.ranks = 8, .seconds = 0.2, .cores = 2},
        {.ranks = 16, .status = ATTN_CASE_SKIPPED},
    };
    const synthetic lengths[] = {{.seconds = 0.5},
                                 {.seq = 2048, .seconds = 2},
                                 {.ranks = 2, .seconds = 0.25},
                                 {.ranks = 2, .seq = 2048, .seconds = 1}};
    attn_results *results = synthetic_make(cases, 6);
    char *text;

    /* A phase that takes time at one point alone stands, as 0, at the others too. */
    results->cases[1]->samples[ATTN_PHASE_COMPUTE] = 0.125;
    text = synthetic_print(extrap, results, ATTN_TABLE_TEXT);
    TEST_HAS(text,
             "{\"params\":{\"p\":1},\"callpath\":\"attention allgather, zigzag\",\"metric\":\"time\",\"value\":[");
    TEST_HAS(text,
             "{\"params\":{\"p\":2},\"callpath\":\"attention ring, zigzag\",\"metric\":\"time\",\"value\":[0.28125,");
    TEST_HAS(text,
             "{\"p\":2},\"callpath\":\"attention allgather, zigzag->compute\",\"metric\":\"time\",\"value\":[0.125,0,");
    TEST_HAS(text, "{\"p\":1},\"callpath\":\"attention ring, zigzag->compute\",\"metric\":\"time\",\"value\":[0,0,");
    TEST_HAS_NOT(text, "{\"p\":4");
    TEST_HAS_NOT(text, "{\"p\":8");
    TEST_HAS_NOT(text, "{\"p\":16");
    TEST_HAS_NOT(text, "merge");
    free(text);
    synthetic_release(results);
    results = synthetic_make(lengths, 4);
    text = synthetic_print(extrap, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "{\"params\":{\"p\":1,\"s\":2048},\"callpath\":\"attention allgather, zigzag\",");
    TEST_HAS(text, "{\"params\":{\"p\":2,\"s\":1024},\"callpath\":\"attention allgather, zigzag\",");
    free(text);
    synthetic_release(results);
    results = synthetic_make(NULL, 0);
    text = synthetic_print(extrap, results, ATTN_TABLE_TEXT);
    CU_ASSERT_STRING_EQUAL(text, "");
    free(text);
    synthetic_release(results);
}

static const attn_test tests[] = {
    {"a serial fraction is recovered", test_amdahl},
    {"sigma and kappa are recovered", test_usl},
    {"a serial fraction of weak scaling is recovered", test_gustafson},
    {"rate, latency and bandwidth are recovered", test_analytic},
    {"the largest P is held out", test_held_out},
    {"no messages", test_no_messages},
    {"what is refused and left out, with its reason", test_refusals},
    {"several launches, repeatable", test_repeatable},
    {"Extra-P", test_extrap},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/models", tests, sizeof tests / sizeof tests[0]);
}

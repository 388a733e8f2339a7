/* The picture of attention weights: all kinds, views, masked and empty rows, and names that are never commands. */
#include "study/pictures.h"

#include <math.h>

enum { HEADS = 3, ROWS = 5, KEYS = 7 };

/* Weights of a causal mask, the first row of which sees nothing. */
static void fill(double *weights, double *scores)
{
    for (int n = 0; n < HEADS * ROWS * KEYS; n++) {
        const int i = n / KEYS % ROWS, j = n % KEYS;

        scores[n] = j < i ? 0.5 : -INFINITY;
        weights[n] = j < i ? 1.0 / i : 0;
    }
}

static attn_weight_map whole(const double *weights, const double *scores)
{
    return (attn_weight_map){.weights = weights,
                             .scores = scores,
                             .seq = ROWS,
                             .kv_seq = KEYS,
                             .head_end = HEADS,
                             .row_end = ROWS,
                             .key_end = KEYS};
}

/* The text of a picture of this map as SVG; "" where it cannot be read. */
static void draw(const attn_weight_map *map, char *text, size_t size)
{
    char folder[64], path[128];
    FILE *stream;
    size_t length = 0;

    make_folder(folder);
    snprintf(path, sizeof path, "%s/weights.svg", folder);
    TEST_OK(attn_study_plot_weights(map, path, &attn_test_error));
    stream = fopen(path, "r");
    if (stream != NULL) {
        length = fread(text, 1, size - 1, stream);
        fclose(stream);
    }
    text[length] = '\0';
    unlink(path);
    CU_ASSERT_EQUAL(rmdir(folder), 0); /* nothing is left beside it */
}

static int occurrences(const char *text, const char *part)
{
    int count = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static void test_views(void)
{
    static double weights[HEADS * ROWS * KEYS], scores[HEADS * ROWS * KEYS];
    static char text[1 << 20];
    attn_weight_map map = whole(weights, scores);

    if (gnuplot_missing())
        return;
    fill(weights, scores);
    draw(&map, text, sizeof text);
    CU_ASSERT(strncmp(text, "<?xml", 5) == 0);
    CU_ASSERT_EQUAL(occurrences(text, "head "), HEADS);
    map.head_begin = 1;
    map.head_end = 2;
    draw(&map, text, sizeof text);
    CU_ASSERT_EQUAL(occurrences(text, "head "), 1);
    CU_ASSERT_EQUAL(occurrences(text, ">0.33<"), 3); /* row 3; those of row 2 are 0.50 */
    CU_ASSERT_EQUAL(occurrences(text, ">0.50<"), 2);
    map.row_begin = 2;
    map.row_end = 3;
    draw(&map, text, sizeof text);
    CU_ASSERT_EQUAL(occurrences(text, ">0.33<"), 0);
    CU_ASSERT_EQUAL(occurrences(text, ">0.50<"), 2);
    map.row_begin = 0; /* nothing is visible */
    map.row_end = 1;
    draw(&map, text, sizeof text);
    CU_ASSERT(strncmp(text, "<?xml", 5) == 0);
    map.scores = NULL; /* nothing is masked: zeros are drawn */
    draw(&map, text, sizeof text);
    CU_ASSERT_EQUAL(occurrences(text, ">0.00<"), KEYS);
}

static void test_names(void)
{
    static const char *const names[] = {"a'; system 'touch test-plot-harm'; '", "`touch test-plot-harm`", "@b {c}_d\\n",
                                        "fünf", "END"};
    static double weights[HEADS * ROWS * KEYS], scores[HEADS * ROWS * KEYS];
    static char text[1 << 20];
    attn_weight_map map = whole(weights, scores);

    if (gnuplot_missing())
        return;
    fill(weights, scores);
    map.row_names = names;
    map.key_names = names;
    map.key_end = ROWS;
    draw(&map, text, sizeof text);
    CU_ASSERT(occurrences(text, "fünf") >= 2);
    CU_ASSERT(occurrences(text, "@b {c}_d") >= 2);
    CU_ASSERT_NOT_EQUAL(access("test-plot-harm", F_OK), 0);
}

static void test_refusals(void)
{
    static double weights[HEADS * ROWS * KEYS];
    const attn_weight_map map = whole(weights, NULL);
    attn_error error = ATTN_ERROR_INIT;

    CU_ASSERT_EQUAL(attn_study_plot_weights(&map, "weights.jpg", &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "weights.jpg"));
    if (!gnuplot_missing())
        CU_ASSERT_EQUAL(attn_study_plot_weights(&map, "no-such-folder/weights.png", &error), ATTN_FILE);
}

static const attn_test tests[] = {
    {"views", test_views},
    {"names", test_names},
    {"refusals", test_refusals},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/heat_map", tests, sizeof tests / sizeof tests[0]);
}

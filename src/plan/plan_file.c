/* Plans in files: JSON of all choices, of what they were made for, and of the machine. */
#include <attn/planner.h>

#include <cjson/cJSON.h>

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char schema[] = "attn-plan";

enum { SCHEMA_VERSION = 1, FILE_MAX = 1 << 20 };

/* The numbers of a problem that a plan must fit. The arrays of a mask count by their size alone. */
typedef struct number {
    const char *name;
    int64_t value;
} number;

enum { NUMBER_COUNT = 12 };

static void list_numbers(const attn_problem *problem, number out[NUMBER_COUNT])
{
    const attn_shape *shape = &problem->shape;
    const attn_mask *mask = &problem->mask;
    const number list[NUMBER_COUNT] = {
        {"batch", shape->batch},
        {"heads", shape->heads},
        {"kv_heads", shape->kv_heads},
        {"seq", shape->seq},
        {"kv_seq", shape->kv_seq},
        {"head_dim", shape->head_dim},
        {"v_head_dim", shape->v_head_dim},
        {"causal", mask->causal},
        {"window_left", mask->window_left},
        {"window_right", mask->window_right},
        {"documents", mask->documents},
        {"padded", mask->kv_len != NULL},
    };

    memcpy(out, list, sizeof list);
}

static void add_link(cJSON *to, const char *name, const attn_link *link)
{
    cJSON *object = cJSON_AddObjectToObject(to, name);

    cJSON_AddNumberToObject(object, "alpha", link->alpha);
    cJSON_AddNumberToObject(object, "beta", link->beta);
    cJSON_AddNumberToObject(object, "hidden", link->hidden);
    cJSON_AddStringToObject(object, "origin", attn_origin_name(link->origin));
}

static void add_machine(cJSON *to, const attn_machine *machine)
{
    cJSON *object = cJSON_AddObjectToObject(to, "machine"), *rates;

    cJSON_AddNumberToObject(object, "cores", machine->cores);
    add_link(object, "node", &machine->node);
    add_link(object, "network", &machine->network);
    cJSON_AddNumberToObject(object, "copy_bandwidth", machine->copy_bandwidth);
    cJSON_AddStringToObject(object, "copy_origin", attn_origin_name(machine->copy_origin));
    cJSON_AddNumberToObject(object, "memory", machine->memory);
    rates = cJSON_AddArrayToObject(object, "rates");
    for (int pass = 0; pass < ATTN_PASS_COUNT; pass++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
            const attn_rate *rate = &machine->rate[pass][dtype];
            cJSON *row = cJSON_CreateObject();

            cJSON_AddStringToObject(row, "pass", attn_pass_name((attn_pass)pass));
            cJSON_AddStringToObject(row, "dtype", attn_dtype_name((attn_dtype)dtype));
            cJSON_AddNumberToObject(row, "flops", rate->flops);
            cJSON_AddStringToObject(row, "origin", attn_origin_name(rate->origin));
            if (!cJSON_AddItemToArray(rates, row))
                cJSON_Delete(row);
        }
}

/* Adding to NULL does nothing, so a lack of memory shows at the end: the text then cannot be read back. */
static char *write_text(const attn_plan *plan, const attn_machine *machine)
{
    cJSON *root = cJSON_CreateObject(), *object;
    number numbers[NUMBER_COUNT];
    char *text;

    cJSON_AddStringToObject(root, "schema", schema);
    cJSON_AddNumberToObject(root, "schema_version", SCHEMA_VERSION);
    object = cJSON_AddObjectToObject(root, "problem");
    cJSON_AddStringToObject(object, "dtype", attn_dtype_name(plan->problem.dtype));
    list_numbers(&plan->problem, numbers);
    for (int n = 0; n < NUMBER_COUNT; n++)
        cJSON_AddNumberToObject(object, numbers[n].name, (double)numbers[n].value);
    cJSON_AddNumberToObject(root, "ranks", plan->ranks);
    cJSON_AddNumberToObject(root, "grid_seq", plan->grid.seq);
    cJSON_AddNumberToObject(root, "grid_head", plan->grid.head);
    cJSON_AddStringToObject(root, "exchange", attn_exchange_name(plan->exchange));
    cJSON_AddStringToObject(root, "layout", attn_layout_name(plan->layout));
    cJSON_AddStringToObject(root, "combine", attn_combine_name(plan->combine));
    cJSON_AddStringToObject(root, "kernel", attn_kernel_name(plan->kernel));
    cJSON_AddStringToObject(root, "pass", attn_pass_name(plan->pass));
    cJSON_AddStringToObject(root, "transfer", attn_transfer_name(plan->transfer));
    cJSON_AddNumberToObject(root, "hybrid_alltoall", plan->hybrid.alltoall);
    cJSON_AddNumberToObject(root, "hybrid_ring", plan->hybrid.ring);
    cJSON_AddNumberToObject(root, "hybrid_ring_inside", plan->hybrid.ring_inside);
    cJSON_AddNumberToObject(root, "node_ranks", plan->node_ranks);
    cJSON_AddNumberToObject(root, "threads", plan->threads);
    if (plan->deterministic)
        cJSON_AddTrueToObject(root, "deterministic");
    if (machine != NULL)
        add_machine(root, machine);
    text = cJSON_Print(root);
    cJSON_Delete(root);
    return text;
}

attn_status attn_plan_save(const attn_plan *plan, const attn_machine *machine, const char *path, attn_error *error)
{
    char *text = write_text(plan, machine);
    FILE *file;
    bool good;

    if (text == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to write a plan");
    file = fopen(path, "w");
    if (file == NULL) {
        cJSON_free(text);
        return attn_error_set(error, ATTN_FILE, "%s: %s", path, strerror(errno));
    }
    good = fprintf(file, "%s\n", text) > 0;
    good = fclose(file) == 0 && good;
    cJSON_free(text);
    return good ? ATTN_OK : attn_error_set(error, ATTN_FILE, "%s: the plan cannot be written", path);
}

static attn_status read_text(const char *path, char **out, attn_error *error)
{
    FILE *file = fopen(path, "r");
    char *text;
    size_t count;

    if (file == NULL)
        return attn_error_set(error, ATTN_FILE, "%s: %s", path, strerror(errno));
    text = malloc(FILE_MAX + 1);
    if (text == NULL) {
        fclose(file);
        return attn_error_set(error, ATTN_MEMORY, "no memory to read %s", path);
    }
    count = fread(text, 1, FILE_MAX, file);
    text[count] = '\0';
    if (ferror(file) != 0) {
        fclose(file);
        free(text);
        return attn_error_set(error, ATTN_FILE, "%s: it cannot be read", path);
    }
    fclose(file);
    *out = text;
    return ATTN_OK;
}

/* Reading: after the first thing that is missing or of another kind nothing more is read. */
typedef struct reading {
    const char *path;
    attn_status status;
    attn_error *error;
} reading;

static void refuse(reading *from, const char *name, const char *words)
{
    if (from->status == ATTN_OK)
        from->status = attn_error_set(from->error, ATTN_INPUT, "%s: %s: %s", from->path, name, words);
}

static double read_real(reading *from, const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    if (cJSON_IsNumber(item) && isfinite(item->valuedouble) && item->valuedouble >= 0)
        return item->valuedouble;
    refuse(from, name, "a number that is not negative is expected");
    return 0;
}

static int64_t read_integer(reading *from, const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    if (cJSON_IsNumber(item) && fabs(item->valuedouble) < 9e15 && item->valuedouble == rint(item->valuedouble))
        return (int64_t)item->valuedouble;
    refuse(from, name, "a whole number is expected");
    return 0;
}

static int read_int(reading *from, const cJSON *object, const char *name)
{
    const int64_t value = read_integer(from, object, name);

    if (value >= 0 && value <= INT_MAX)
        return (int)value;
    refuse(from, name, "0 to 2147483647 is expected");
    return 0;
}

static const char *read_string(reading *from, const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    if (cJSON_IsString(item))
        return item->valuestring;
    refuse(from, name, "a name is expected");
    return "";
}

/* The names in a file are those of this build, or it cannot be used here. */
static void need(reading *from, bool known, const char *what, const char *name)
{
    if (from->status == ATTN_OK && !known)
        from->status =
            attn_error_set(from->error, ATTN_INPUT, "%s: this build has no %s \"%s\"", from->path, what, name);
}

static attn_origin find_origin(reading *from, const cJSON *object, const char *name)
{
    const char *text = read_string(from, object, name);
    int origin = 0;

    while (origin < ATTN_ORIGIN_COUNT && strcmp(attn_origin_name((attn_origin)origin), text) != 0)
        origin++;
    need(from, origin < ATTN_ORIGIN_COUNT, "origin", text);
    return (attn_origin)origin;
}

static double read_share(reading *from, const cJSON *object, const char *name)
{
    const double value = read_real(from, object, name);

    if (value > 1)
        refuse(from, name, "a number from 0 to 1 is expected");
    return value;
}

static attn_link read_link(reading *from, const cJSON *machine, const char *name)
{
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(machine, name);

    return (attn_link){.alpha = read_real(from, object, "alpha"),
                       .beta = read_real(from, object, "beta"),
                       .hidden = read_share(from, object, "hidden"),
                       .origin = find_origin(from, object, "origin")};
}

static attn_machine read_machine(reading *from, const cJSON *object)
{
    attn_machine made = attn_machine_default();
    const cJSON *row, *rates = cJSON_GetObjectItemCaseSensitive(object, "rates");

    made.cores = read_int(from, object, "cores");
    made.node = read_link(from, object, "node");
    made.network = read_link(from, object, "network");
    made.copy_bandwidth = read_real(from, object, "copy_bandwidth");
    made.copy_origin = find_origin(from, object, "copy_origin");
    made.memory = read_real(from, object, "memory");
    cJSON_ArrayForEach(row, rates)
    {
        const char *pass_name = read_string(from, row, "pass"), *dtype_name = read_string(from, row, "dtype");
        attn_rate rate;
        attn_pass pass;
        attn_dtype dtype;

        need(from, attn_pass_find(pass_name, &pass), "pass", pass_name);
        need(from, attn_dtype_parse(dtype_name, &dtype, NULL) == ATTN_OK, "dtype", dtype_name);
        rate.flops = read_real(from, row, "flops");
        rate.origin = find_origin(from, row, "origin");
        if (from->status == ATTN_OK)
            made.rate[pass][dtype] = rate;
    }
    return made;
}

static void differ(reading *from, const char *name, long long has, long long wanted)
{
    if (from->status == ATTN_OK && has != wanted)
        from->status = attn_error_set(from->error, ATTN_ARGUMENT, "%s: a plan of %s %lld; %lld is given", from->path,
                                      name, has, wanted);
}

static void check_problem(reading *from, const cJSON *root, const attn_problem *problem, int ranks)
{
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, "problem");
    const char *dtype = read_string(from, object, "dtype"), *wanted = attn_dtype_name(problem->dtype);
    number numbers[NUMBER_COUNT];

    list_numbers(problem, numbers);
    for (int n = 0; n < NUMBER_COUNT; n++) {
        const long long has = read_integer(from, object, numbers[n].name);

        differ(from, numbers[n].name, has, numbers[n].value);
    }
    if (from->status == ATTN_OK && strcmp(dtype, wanted) != 0)
        from->status = attn_error_set(from->error, ATTN_ARGUMENT, "%s: a plan of dtype %s; %s is given", from->path,
                                      dtype, wanted);
    differ(from, "ranks", read_int(from, root, "ranks"), ranks);
}

static attn_plan_options read_choices(reading *from, const cJSON *root)
{
    const char *exchange = read_string(from, root, "exchange"), *layout = read_string(from, root, "layout");
    const char *combine = read_string(from, root, "combine"), *kernel = read_string(from, root, "kernel");
    const char *pass = read_string(from, root, "pass"), *transfer = read_string(from, root, "transfer");
    attn_plan_options made = {
        .grid = {read_int(from, root, "grid_seq"), read_int(from, root, "grid_head")},
        .exchange = attn_exchange_find(exchange),
        .layout = attn_layout_find(layout),
        .combine = attn_combine_find(combine),
        .kernel = attn_kernel_find(kernel),
        .transfer = attn_transfer_find(transfer),
        .hybrid = {read_int(from, root, "hybrid_alltoall"), read_int(from, root, "hybrid_ring"),
                   read_int(from, root, "hybrid_ring_inside") != 0},
        .node_ranks = read_int(from, root, "node_ranks"),
        .threads = read_int(from, root, "threads"),
        .deterministic = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "deterministic")),
    };

    need(from, made.exchange != NULL, "exchange", exchange);
    need(from, made.layout != NULL, "layout", layout);
    need(from, made.combine != NULL, "combine", combine);
    need(from, made.kernel != NULL, "kernel", kernel);
    need(from, made.transfer != ATTN_TRANSFER_COUNT, "transfer", transfer);
    need(from, attn_pass_find(pass, &made.pass), "pass", pass);
    return made;
}

attn_status attn_plan_load(const attn_problem *problem, int ranks, const char *path, attn_plan *out,
                           attn_machine *machine, attn_error *error)
{
    reading from = {path, ATTN_OK, error};
    attn_machine read = attn_machine_default();
    attn_plan_options choices;
    const cJSON *described;
    attn_plan plan;
    char *text = NULL;
    cJSON *root;
    attn_status status = read_text(path, &text, error);

    if (status != ATTN_OK)
        return status;
    root = cJSON_Parse(text);
    free(text);
    if (root == NULL)
        return attn_error_set(error, ATTN_INPUT, "%s: it is not JSON", path);
    if (strcmp(read_string(&from, root, "schema"), schema) != 0)
        refuse(&from, "schema", "attn-plan is expected");
    if (read_integer(&from, root, "schema_version") != SCHEMA_VERSION)
        refuse(&from, "schema_version", "1 is expected");
    check_problem(&from, root, problem, ranks);
    choices = read_choices(&from, root);
    described = cJSON_GetObjectItemCaseSensitive(root, "machine");
    if (described != NULL)
        read = read_machine(&from, described);
    cJSON_Delete(root);
    if (from.status != ATTN_OK)
        return from.status;
    status = attn_plan_make(problem, ranks, &choices, &plan, error);
    if (status != ATTN_OK)
        return status;
    *out = plan;
    if (machine != NULL)
        *machine = read;
    return ATTN_OK;
}

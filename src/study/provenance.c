/* What two sets of launches do not have in common: a difference of times may be one of machines or builds. */
#include "study/comparison.h"

#include <stdlib.h>
#include <string.h>

/* What is compared. The commit is not: to compare commits is what comparisons are for. */
static const char *const machine[] = {"hostname", "cpu_model",  "cpus",   "cpu_governor",
                                      "smt",      "numa_nodes", "kernel", "transparent_hugepages"};
static const char *const build[] = {"compiler",   "compile_flags", "kernel_flags", "build_type",
                                    "sanitizers", "mpi",           "hdf5"};

enum { MACHINE_COUNT = sizeof machine / sizeof machine[0], BUILD_COUNT = sizeof build / sizeof build[0] };
enum { VALUE_MAX = 80 };

/* The value of an attribute, cut where it is long; false where a launch has none. */
static bool value_of(const attn_attributes *environment, const char *name, char value[VALUE_MAX])
{
    const attn_attribute *attribute = attn_attributes_find(environment, name);
    char whole[4096];

    if (attribute == NULL)
        return false;
    attn_attribute_format(attribute, whole, sizeof whole);
    if ((size_t)snprintf(value, VALUE_MAX, "%s", whole) >= VALUE_MAX)
        memcpy(value + VALUE_MAX - 4, "...", 4);
    return value[0] != '\0';
}

/* Whether an attribute has the same value in two launches; what either does not know is no difference. */
static bool same_value(const attn_attributes *a, const attn_attributes *b, const char *name)
{
    const attn_attribute *x = attn_attributes_find(a, name), *y = attn_attributes_find(b, name);
    char first[4096], second[4096];

    if (x == NULL || y == NULL)
        return true;
    attn_attribute_format(x, first, sizeof first);
    attn_attribute_format(y, second, sizeof second);
    return strcmp(first, second) == 0;
}

static bool is_first_with_value(const attn_results *results, size_t index, const char *name)
{
    for (size_t e = 0; e < index; e++)
        if (attn_attributes_find(results->environments[e], name) != NULL &&
            same_value(results->environments[e], results->environments[index], name))
            return false;
    return true;
}

void attn_provenance_write(const attn_results *results, const char *name, FILE *stream)
{
    char value[VALUE_MAX];
    bool some = false;

    for (size_t e = 0; e < results->environment_count; e++) {
        if (!value_of(results->environments[e], name, value) || !is_first_with_value(results, e, name))
            continue;
        fprintf(stream, "%s%s", some ? ", " : "", value);
        some = true;
    }
    if (!some)
        fputc('-', stream);
}

static bool all_same(const attn_results *results, const char *name)
{
    for (size_t e = 1; e < results->environment_count; e++)
        if (!same_value(results->environments[0], results->environments[e], name))
            return false;
    return true;
}

/* Every value of one side stands on the other side too. */
static bool within(const attn_results *a, const attn_results *b, const char *name)
{
    for (size_t i = 0; i < a->environment_count; i++) {
        bool found = b->environment_count == 0;

        for (size_t j = 0; j < b->environment_count && !found; j++)
            found = same_value(a->environments[i], b->environments[j], name);
        if (!found)
            return false;
    }
    return true;
}

/* The warning about one attribute: NULL in *text where there is nothing to say. ATTN_MEMORY. */
static attn_status describe_difference(const attn_results *base, const attn_results *changed, const char *what,
                                       const char *name, char **text)
{
    const bool same = within(base, changed, name) && within(changed, base, name);
    FILE *stream;
    size_t size;

    *text = NULL;
    if (same && all_same(base, name))
        return ATTN_OK;
    stream = open_memstream(text, &size);
    if (stream == NULL)
        return ATTN_MEMORY;
    if (same) {
        fprintf(stream, "launches of both sides differ in the %s: %s ", what, name);
        attn_provenance_write(base, name, stream);
    } else {
        fprintf(stream, "the %ss differ: %s ", what, name);
        attn_provenance_write(base, name, stream);
        fputs(" in base, ", stream);
        attn_provenance_write(changed, name, stream);
        fputs(" in new", stream);
    }
    return fclose(stream) == 0 ? ATTN_OK : ATTN_MEMORY;
}

attn_status attn_provenance_compare(const attn_results *base, const attn_results *changed, char ***warnings,
                                    size_t *count, attn_error *error)
{
    *count = 0;
    *warnings = calloc(MACHINE_COUNT + BUILD_COUNT, sizeof(**warnings));
    if (*warnings == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for warnings");
    for (size_t i = 0; i < MACHINE_COUNT + BUILD_COUNT; i++) {
        const bool of_machine = i < MACHINE_COUNT;
        const attn_status status =
            describe_difference(base, changed, of_machine ? "machine" : "build",
                                of_machine ? machine[i] : build[i - MACHINE_COUNT], &(*warnings)[*count]);

        *count += (*warnings)[*count] != NULL;
        if (status != ATTN_OK)
            return attn_error_set(error, status, "no memory for warnings");
    }
    return ATTN_OK;
}

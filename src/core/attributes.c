#include <attn/attributes.h>

#include "core/checked.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attn_attributes {
    attn_attribute *list; /* [count], room for `capacity` */
    size_t count, capacity;
};

attn_status attn_attributes_create(attn_attributes **out, attn_error *error)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for a list of attributes");
}

void attn_attributes_destroy(attn_attributes *attributes)
{
    if (attributes == NULL)
        return;
    for (size_t i = 0; i < attributes->count; i++) {
        free(attributes->list[i].name);
        free(attributes->list[i].text);
    }
    free(attributes->list);
    free(attributes);
}

static attn_attribute *find(const attn_attributes *attributes, const char *name)
{
    for (size_t i = 0; i < attributes->count; i++)
        if (strcmp(attributes->list[i].name, name) == 0)
            return &attributes->list[i];
    return NULL;
}

/* A new attribute without a value at the end of the list, or NULL. */
static attn_attribute *append(attn_attributes *attributes, const char *name)
{
    char *copy;

    if (attributes->count == attributes->capacity) {
        const size_t capacity = attributes->capacity > 0 ? 2 * attributes->capacity : 16;
        attn_attribute *const list = attn_realloc_array(attributes->list, (int64_t)capacity, sizeof *list);

        if (list == NULL)
            return NULL;
        attributes->list = list;
        attributes->capacity = capacity;
    }
    copy = strdup(name);
    if (copy == NULL)
        return NULL;
    attributes->list[attributes->count] = (attn_attribute){.name = copy};
    return &attributes->list[attributes->count++];
}

/* Stores a value whose name is replaced by the list's own and whose text, if any, passes to the list. */
static attn_status set(attn_attributes *attributes, const char *name, attn_attribute value)
{
    attn_attribute *attribute = find(attributes, name);

    if (attribute == NULL)
        attribute = append(attributes, name);
    if (attribute == NULL) {
        free(value.text);
        return ATTN_MEMORY;
    }
    value.name = attribute->name;
    free(attribute->text);
    *attribute = value;
    return ATTN_OK;
}

attn_status attn_attributes_set_integer(attn_attributes *attributes, const char *name, int64_t value)
{
    return set(attributes, name, (attn_attribute){.kind = ATTN_VALUE_INTEGER, .integer = value});
}

attn_status attn_attributes_set_real(attn_attributes *attributes, const char *name, double value)
{
    return set(attributes, name, (attn_attribute){.kind = ATTN_VALUE_REAL, .real = value});
}

attn_status attn_attributes_set_text(attn_attributes *attributes, const char *name, const char *value)
{
    const attn_attribute attribute = {.kind = ATTN_VALUE_TEXT, .text = strdup(value)};

    return attribute.text != NULL ? set(attributes, name, attribute) : ATTN_MEMORY;
}

size_t attn_attributes_count(const attn_attributes *attributes)
{
    return attributes->count;
}

const attn_attribute *attn_attributes_at(const attn_attributes *attributes, size_t index)
{
    assert(index < attributes->count);
    return &attributes->list[index];
}

const attn_attribute *attn_attributes_find(const attn_attributes *attributes, const char *name)
{
    return find(attributes, name);
}

int64_t attn_attributes_integer(const attn_attributes *attributes, const char *name, int64_t fallback)
{
    const attn_attribute *const a = find(attributes, name);

    return a != NULL && a->kind == ATTN_VALUE_INTEGER ? a->integer : fallback;
}

double attn_attributes_real(const attn_attributes *attributes, const char *name, double fallback)
{
    const attn_attribute *const a = find(attributes, name);

    if (a == NULL || a->kind == ATTN_VALUE_TEXT)
        return fallback;
    return a->kind == ATTN_VALUE_REAL ? a->real : (double)a->integer;
}

const char *attn_attributes_text(const attn_attributes *attributes, const char *name, const char *fallback)
{
    const attn_attribute *const a = find(attributes, name);

    return a != NULL && a->kind == ATTN_VALUE_TEXT ? a->text : fallback;
}

/* The fewest of 15 to 17 digits that give the same number back; one spelling of NaN, whatever its sign. */
static void format_real(double value, char *text, size_t size)
{
    if (isnan(value)) {
        snprintf(text, size, "nan");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
}

void attn_attribute_format(const attn_attribute *attribute, char *buffer, size_t size)
{
    char real[32];

    switch (attribute->kind) {
    case ATTN_VALUE_INTEGER:
        snprintf(buffer, size, "%" PRId64, attribute->integer);
        break;
    case ATTN_VALUE_REAL:
        format_real(attribute->real, real, sizeof real);
        snprintf(buffer, size, "%s", real);
        break;
    case ATTN_VALUE_TEXT:
        snprintf(buffer, size, "%s", attribute->text);
        break;
    }
}

static uint64_t fnv1a(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash;
}

void attn_attributes_id(const attn_attributes *attributes, char id[ATTN_ID_SIZE])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < attributes->count; i++) {
        const attn_attribute *const a = &attributes->list[i];
        char number[32];

        hash = fnv1a(fnv1a(hash, a->name), "=");
        if (a->kind == ATTN_VALUE_TEXT) {
            hash = fnv1a(hash, a->text);
        } else {
            attn_attribute_format(a, number, sizeof number);
            hash = fnv1a(hash, number);
        }
        hash = fnv1a(hash, "\n");
    }
    snprintf(id, ATTN_ID_SIZE, "%016" PRIx64, hash);
}

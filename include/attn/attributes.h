/* An ordered list of named values (integer, real or text): the factors and results of a case, the provenance of a
 * launch. One small generic container keeps result files, tables, CSV and JSON free of per-field code. */
#ifndef ATTN_ATTRIBUTES_H
#define ATTN_ATTRIBUTES_H

#include <attn/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum attn_value_kind { ATTN_VALUE_INTEGER, ATTN_VALUE_REAL, ATTN_VALUE_TEXT } attn_value_kind;

typedef struct attn_attribute {
    char *name;
    attn_value_kind kind;
    int64_t integer; /* ATTN_VALUE_INTEGER */
    double real;     /* ATTN_VALUE_REAL */
    char *text;      /* ATTN_VALUE_TEXT, otherwise NULL */
} attn_attribute;

typedef struct attn_attributes attn_attributes;

/* An empty list. out is NULL on failure (ATTN_MEMORY). Destroy takes NULL. */
ATTN_API attn_status attn_attributes_create(attn_attributes **out, attn_error *error);
ATTN_API void attn_attributes_destroy(attn_attributes *attributes);

/* Sets a value, replacing one of the same name and keeping its place. Name and text are copied. ATTN_MEMORY. */
ATTN_API attn_status attn_attributes_set_integer(attn_attributes *attributes, const char *name, int64_t value);
ATTN_API attn_status attn_attributes_set_real(attn_attributes *attributes, const char *name, double value);
ATTN_API attn_status attn_attributes_set_text(attn_attributes *attributes, const char *name, const char *value);

ATTN_API size_t attn_attributes_count(const attn_attributes *attributes);
/* The index-th attribute, or the one of that name (NULL when there is none). Borrowed until the next set or destroy. */
ATTN_API const attn_attribute *attn_attributes_at(const attn_attributes *attributes, size_t index);
ATTN_API const attn_attribute *attn_attributes_find(const attn_attributes *attributes, const char *name);

/* Values by name with a fallback when absent or of another kind (integers read as reals too). */
ATTN_API int64_t attn_attributes_integer(const attn_attributes *attributes, const char *name, int64_t fallback);
ATTN_API double attn_attributes_real(const attn_attributes *attributes, const char *name, double fallback);
ATTN_API const char *attn_attributes_text(const attn_attributes *attributes, const char *name, const char *fallback);

/* Writes the value as text ("%lld", "%.17g" shortened when exact, or the text itself) into buffer[size]. */
ATTN_API void attn_attribute_format(const attn_attribute *attribute, char *buffer, size_t size);

/* 64-bit FNV-1a hash of "name=value\n" over the list in its order; the identity of a case.
 *   id  out, 16 hexadecimal digits and a terminating zero */
#define ATTN_ID_SIZE 17
ATTN_API void attn_attributes_id(const attn_attributes *attributes, char id[ATTN_ID_SIZE]);

#ifdef __cplusplus
}
#endif
#endif

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

/* Makes an empty list, and destroys one with all that is in it.
 *   out         out, to be destroyed by the caller; NULL on failure
 *   attributes  in, may be NULL
 * ATTN_MEMORY. */
ATTN_API attn_status attn_attributes_create(attn_attributes **out, attn_error *error);
ATTN_API void attn_attributes_destroy(attn_attributes *attributes);

/* Sets a value, replacing one of the same name and keeping its place; a new name is appended.
 *   attributes  in/out
 *   name        in, copied; any text that is not empty
 *   value       in; a text is copied and not NULL
 * ATTN_MEMORY, which leaves the list as it was. */
ATTN_API attn_status attn_attributes_set_integer(attn_attributes *attributes, const char *name, int64_t value);
ATTN_API attn_status attn_attributes_set_real(attn_attributes *attributes, const char *name, double value);
ATTN_API attn_status attn_attributes_set_text(attn_attributes *attributes, const char *name, const char *value);

/* Counts the attributes. */
ATTN_API size_t attn_attributes_count(const attn_attributes *attributes);

/* Looks up the attribute at 0 <= index < count, or the one of that name (NULL when there is none).
 * Returns a pointer that is borrowed until the next set or destroy. */
ATTN_API const attn_attribute *attn_attributes_at(const attn_attributes *attributes, size_t index);
ATTN_API const attn_attribute *attn_attributes_find(const attn_attributes *attributes, const char *name);

/* Reads a value by its name.
 *   fallback  in, returned when there is none of that name or it is of another kind (integers read as reals too)
 * A text is borrowed until the next set or destroy. */
ATTN_API int64_t attn_attributes_integer(const attn_attributes *attributes, const char *name, int64_t fallback);
ATTN_API double attn_attributes_real(const attn_attributes *attributes, const char *name, double fallback);
ATTN_API const char *attn_attributes_text(const attn_attributes *attributes, const char *name, const char *fallback);

/* Writes the value as text: "%lld", the shortest of "%.15g" to "%.17g" that reads back the same, or the text itself.
 *   buffer  out, [size] bytes, always terminated; what does not fit is cut; 32 hold any number */
ATTN_API void attn_attribute_format(const attn_attribute *attribute, char *buffer, size_t size);

/* Hashes "name=value\n" over the list in its order (64-bit FNV-1a; Fowler, Noll and Vo); the identity of a case.
 *   id  out, 16 hexadecimal digits and a terminating zero */
#define ATTN_ID_SIZE 17
ATTN_API void attn_attributes_id(const attn_attributes *attributes, char id[ATTN_ID_SIZE]);

#ifdef __cplusplus
}
#endif
#endif

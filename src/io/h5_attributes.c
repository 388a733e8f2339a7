#include "io/h5.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An open attribute with its type. */
typedef struct opened {
    hid_t attribute, type;
} opened;

static void release(opened value)
{
    attn_h5_close(value.type);
    attn_h5_close(value.attribute);
}

static hssize_t value_count(hid_t attribute)
{
    const hid_t space = H5Aget_space(attribute);
    const hssize_t count = H5Sget_simple_extent_npoints(space);

    attn_h5_close(space);
    return count;
}

/* Opens an attribute of one value. */
static attn_status acquire(hid_t object, const char *where, const char *name, opened *out, attn_error *error)
{
    if (!attn_h5_has_attribute(object, name))
        return attn_error_set(error, ATTN_INPUT, "%s: attribute %s is missing", where, name);
    out->attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (out->attribute < 0)
        return attn_h5_error(error, ATTN_INPUT, "%s: attribute %s cannot be read", where, name);
    out->type = H5Aget_type(out->attribute);
    if (value_count(out->attribute) != 1) {
        attn_error_set(error, ATTN_INPUT, "%s: attribute %s has %lld values; one is needed", where, name,
                       (long long)value_count(out->attribute));
        release(*out);
        return ATTN_INPUT;
    }
    return ATTN_OK;
}

/* Text of variable length; NULL stands for the empty text. */
static char *variable_text(opened value)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    char *text = NULL;

    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5Tget_cset(value.type));
    if (H5Aread(value.attribute, type, &text) < 0)
        text = NULL;
    else if (text == NULL)
        text = calloc(1, 1);
    attn_h5_close(type);
    return text;
}

/* Text of fixed length, which may fill its place without a final zero. */
static char *fixed_text(opened value)
{
    const size_t size = H5Tget_size(value.type);
    char *text = calloc(size + 1, 1);

    if (text != NULL && H5Aread(value.attribute, value.type, text) < 0) {
        free(text);
        text = NULL;
    }
    if (text != NULL && H5Tget_strpad(value.type) == H5T_STR_SPACEPAD)
        for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
            text[n - 1] = '\0';
    return text;
}

bool attn_h5_has_attribute(hid_t object, const char *name)
{
    return H5Aexists(object, name) > 0;
}

attn_status attn_h5_read_text(hid_t object, const char *where, const char *name, char **out, attn_error *error)
{
    opened value;
    char type[64];
    attn_status status = acquire(object, where, name, &value, error);

    *out = NULL;
    if (status != ATTN_OK)
        return status;
    attn_h5_type_name(value.type, type, sizeof type);
    if (H5Tget_class(value.type) != H5T_STRING)
        status = attn_error_set(error, ATTN_INPUT, "%s: attribute %s is %s; a text is needed", where, name, type);
    else if ((*out = H5Tis_variable_str(value.type) > 0 ? variable_text(value) : fixed_text(value)) == NULL)
        status = attn_h5_error(error, ATTN_INPUT, "%s: attribute %s cannot be read", where, name);
    release(value);
    return status;
}

/* One number of any numeric type, as an integer where it is stored as one (a truth value of h5py is an enumeration). */
static attn_status read_number(hid_t object, const char *where, const char *name, attn_attribute *out,
                               attn_error *error)
{
    opened value;
    char type[64];
    H5T_class_t class;
    attn_status status = acquire(object, where, name, &value, error);

    if (status != ATTN_OK)
        return status;
    attn_h5_type_name(value.type, type, sizeof type);
    class = H5Tget_class(value.type);
    out->kind = class == H5T_FLOAT ? ATTN_VALUE_REAL : ATTN_VALUE_INTEGER;
    if (class != H5T_FLOAT && class != H5T_INTEGER && class != H5T_ENUM)
        status = attn_error_set(error, ATTN_INPUT, "%s: attribute %s is %s; a number is needed", where, name, type);
    else if (class == H5T_FLOAT ? H5Aread(value.attribute, H5T_NATIVE_DOUBLE, &out->real) < 0
                                : H5Aread(value.attribute, H5T_NATIVE_INT64, &out->integer) < 0)
        status = attn_h5_error(error, ATTN_INPUT, "%s: attribute %s cannot be read", where, name);
    release(value);
    return status;
}

attn_status attn_h5_read_integer(hid_t object, const char *where, const char *name, int64_t *out, attn_error *error)
{
    attn_attribute number = {.name = NULL};
    const attn_status status = read_number(object, where, name, &number, error);

    if (status != ATTN_OK)
        return status;
    if (number.kind == ATTN_VALUE_REAL) {
        if (!(fabs(number.real) < 0x1p62) || number.real != floor(number.real))
            return attn_error_set(error, ATTN_INPUT, "%s: attribute %s is %.17g; a whole number is needed", where, name,
                                  number.real);
        number.integer = (int64_t)number.real;
    }
    *out = number.integer;
    return ATTN_OK;
}

attn_status attn_h5_read_real(hid_t object, const char *where, const char *name, double *out, attn_error *error)
{
    attn_attribute number = {.name = NULL};
    const attn_status status = read_number(object, where, name, &number, error);

    if (status == ATTN_OK)
        *out = number.kind == ATTN_VALUE_REAL ? number.real : (double)number.integer;
    return status;
}

/* The index-th attribute, open, in the order of creation or, where the file does not keep it, of the names. */
static hid_t open_at(hid_t object, hsize_t index)
{
    hid_t attribute = H5Aopen_by_idx(object, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, index, H5P_DEFAULT, H5P_DEFAULT);

    if (attribute < 0)
        attribute = H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, index, H5P_DEFAULT, H5P_DEFAULT);
    return attribute;
}

attn_status attn_h5_read_attribute(hid_t object, const char *where, hsize_t index, attn_attributes *out,
                                   attn_error *error)
{
    const hid_t attribute = open_at(object, index), type = H5Aget_type(attribute);
    const H5T_class_t class = H5Tget_class(type);
    const bool single = value_count(attribute) == 1;
    attn_attribute number = {.name = NULL};
    attn_status status = ATTN_OK;
    char name[1024], *text = NULL;

    if (H5Aget_name(attribute, sizeof name, name) < 0)
        status =
            attn_h5_error(error, ATTN_INPUT, "%s: attribute %llu cannot be read", where, (unsigned long long)index);
    attn_h5_close(type);
    attn_h5_close(attribute);
    if (status != ATTN_OK || !single)
        return status;
    if (class == H5T_STRING) {
        status = attn_h5_read_text(object, where, name, &text, error);
        if (status == ATTN_OK && attn_attributes_set_text(out, name, text) != ATTN_OK)
            status = attn_error_set(error, ATTN_MEMORY, "%s: no memory for attribute %s", where, name);
        free(text);
    } else if (class == H5T_FLOAT || class == H5T_INTEGER || class == H5T_ENUM) {
        status = read_number(object, where, name, &number, error);
        if (status == ATTN_OK &&
            (number.kind == ATTN_VALUE_REAL ? attn_attributes_set_real(out, name, number.real)
                                            : attn_attributes_set_integer(out, name, number.integer)) != ATTN_OK)
            status = attn_error_set(error, ATTN_MEMORY, "%s: no memory for attribute %s", where, name);
    }
    return status;
}

/* Makes an attribute of one value and writes it from memory of the same type. */
static bool write_value(hid_t object, const char *name, hid_t type, const void *value)
{
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const bool written = attribute >= 0 && H5Awrite(attribute, type, value) >= 0;

    attn_h5_close(attribute);
    attn_h5_close(space);
    return written;
}

bool attn_h5_write_text(hid_t object, const char *name, const char *value)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    const bool written = H5Tset_size(type, H5T_VARIABLE) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0 &&
                         write_value(object, name, type, &value);

    attn_h5_close(type);
    return written;
}

bool attn_h5_write_integer(hid_t object, const char *name, int64_t value)
{
    return write_value(object, name, H5T_NATIVE_INT64, &value);
}

bool attn_h5_write_real(hid_t object, const char *name, double value)
{
    return write_value(object, name, H5T_NATIVE_DOUBLE, &value);
}

bool attn_h5_write_attribute(hid_t object, const attn_attribute *attribute)
{
    switch (attribute->kind) {
    case ATTN_VALUE_INTEGER:
        return attn_h5_write_integer(object, attribute->name, attribute->integer);
    case ATTN_VALUE_REAL:
        return attn_h5_write_real(object, attribute->name, attribute->real);
    case ATTN_VALUE_TEXT:
        return attn_h5_write_text(object, attribute->name, attribute->text);
    }
    return false;
}

#include "io/h5.h"

#include "io/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY_STEP ((size_t)1 << 20) /* by which a file in memory grows */

attn_h5_quiet attn_h5_quiet_begin(void)
{
    attn_h5_quiet saved = {NULL, NULL};

    H5Eget_auto2(H5E_DEFAULT, &saved.print, &saved.data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return saved;
}

void attn_h5_quiet_end(attn_h5_quiet saved)
{
    H5Eset_auto2(H5E_DEFAULT, saved.print, saved.data);
}

static herr_t take_innermost(unsigned n, const H5E_error2_t *entry, void *text)
{
    if (n == 0 && entry->desc != NULL)
        snprintf(text, ATTN_MESSAGE_MAX, " (HDF5: %s)", entry->desc);
    return 0;
}

/* Whether ranks could not communicate. What MPI-IO reports is the file's failure. */
static herr_t find_communication(unsigned n, const H5E_error2_t *entry, void *found)
{
    (void)n;
    if (entry->min_num == H5E_MPI && entry->desc != NULL && strncmp(entry->desc, "MPI_File_", 9) != 0)
        *(bool *)found = true;
    return 0;
}

/* In parentheses, as the analyzer has a macro of this name. */
attn_status(attn_h5_error)(attn_error *error, attn_status status, const char *format, ...)
{
    char reason[ATTN_MESSAGE_MAX] = "", text[ATTN_MESSAGE_MAX];
    bool communication = false;
    va_list arguments;

    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, reason);
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, find_communication, &communication);
    reason[strcspn(reason, "\n")] = '\0';
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return attn_error_set(error, communication ? ATTN_MPI : status, "%s%s", text, reason);
}

void attn_h5_close(hid_t id)
{
    if (id >= 0)
        H5Idec_ref(id);
}

hid_t attn_h5_file_access(void)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);

    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
    H5Pset_file_locking(access, false, true);
#endif
    return access;
}

/* Whether the file begins as an HDF5 file does; the signature is in section II.A of its format specification. */
static bool has_signature(int descriptor)
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char head[sizeof signature];

    return pread(descriptor, head, sizeof head, 0) == (ssize_t)sizeof head && memcmp(head, signature, sizeof head) == 0;
}

attn_status attn_h5_open(const char *path, hid_t *out, attn_error *error)
{
    struct stat info;
    attn_status status = ATTN_OK;
    hid_t access;
    int descriptor;

    *out = H5I_INVALID_HID;
    /* Looked at first, because opening a pipe would wait for ever. */
    if (stat(path, &info) != 0)
        return attn_error_set(error, ATTN_INPUT, "%s: %s; the path of an HDF5 file is needed", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return attn_error_set(error, ATTN_INPUT, "%s: not a regular file; the path of an HDF5 file is needed", path);
    descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return attn_error_set(error, ATTN_INPUT, "%s: %s; a readable HDF5 file is needed", path, strerror(errno));
    access = attn_h5_file_access();
    *out = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (*out < 0 && has_signature(descriptor))
        status = attn_h5_error(error, ATTN_INPUT, "%s: a damaged HDF5 file; a whole one is needed", path);
    else if (*out < 0)
        status = attn_error_set(error, ATTN_INPUT, "%s: not an HDF5 file; one is needed", path);
    attn_h5_close(access);
    close(descriptor);
    return status;
}

attn_status attn_h5_flush_close(hid_t file, const char *path, attn_error *error)
{
    attn_status status = ATTN_OK;

    if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0)
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be written", path);
    if (status != ATTN_MPI && H5Fclose(file) < 0 && status == ATTN_OK) /* closing may be collective */
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be closed", path);
    return status;
}

attn_status attn_h5_create(const char *path, hid_t *out, attn_error *error)
{
    const hid_t access = attn_h5_file_access(), properties = H5Pcreate(H5P_FILE_CREATE);

    H5Pset_fapl_core(access, MEMORY_STEP, false);
    H5Pset_attr_creation_order(properties, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    *out = H5Fcreate(path, H5F_ACC_TRUNC, properties, access);
    attn_h5_close(properties);
    attn_h5_close(access);
    return *out >= 0 ? ATTN_OK : attn_h5_error(error, ATTN_FILE, "%s: cannot be created", path);
}

attn_status attn_h5_save(hid_t file, const char *path, attn_error *error)
{
    attn_status status = ATTN_OK;
    void *image = NULL;
    ssize_t size = -1;

    if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0 || (size = H5Fget_file_image(file, NULL, 0)) < 0)
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be written", path);
    else if ((image = malloc((size_t)size)) == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory for its %zd bytes", path, size);
    else if (H5Fget_file_image(file, image, (size_t)size) != size)
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be written", path);
    attn_h5_close(file);
    if (status == ATTN_OK)
        status = attn_file_write(path, image, (size_t)size, error);
    free(image);
    return status;
}

bool attn_h5_has_object(hid_t file, const char *path)
{
    char prefix[256];

    for (const char *end = path; end != NULL;) {
        const char *const slash = strchr(end, '/');
        const size_t length = slash != NULL ? (size_t)(slash - path) : strlen(path);

        snprintf(prefix, sizeof prefix, "%.*s", (int)length, path);
        if (H5Lexists(file, prefix, H5P_DEFAULT) <= 0)
            return false;
        end = slash != NULL ? slash + 1 : NULL;
    }
    return H5Oexists_by_name(file, path, H5P_DEFAULT) > 0;
}

attn_status attn_h5_open_dataset(hid_t file, const char *path, const char *name, hid_t *out, int *rank,
                                 hsize_t extents[H5S_MAX_RANK], attn_error *error)
{
    const hid_t object = H5Oopen(file, name, H5P_DEFAULT);
    hid_t space;

    if (object < 0)
        return attn_h5_error(error, ATTN_INPUT, "%s: dataset %s cannot be opened", path, name);
    if (H5Iget_type(object) != H5I_DATASET) {
        attn_h5_close(object);
        return attn_error_set(error, ATTN_INPUT, "%s: %s is not a dataset; one is needed", path, name);
    }
    space = H5Dget_space(object);
    *rank = H5Sget_simple_extent_type(space) == H5S_NULL ? 0 : H5Sget_simple_extent_dims(space, extents, NULL);
    attn_h5_close(space);
    *out = object;
    return ATTN_OK;
}

attn_status attn_h5_check_group(hid_t file, const char *path, const char *name, const char *contents, attn_error *error)
{
    hid_t object;
    H5I_type_t kind;

    if (!attn_h5_has_object(file, name))
        return ATTN_OK;
    object = H5Oopen(file, name, H5P_DEFAULT);
    kind = H5Iget_type(object);
    attn_h5_close(object);
    if (kind != H5I_GROUP)
        return attn_error_set(error, ATTN_INPUT, "%s: %s is not a group; one with %s is needed", path, name, contents);
    return ATTN_OK;
}

void attn_h5_type_name(hid_t type, char *name, size_t size)
{
    const size_t bits = 8 * H5Tget_size(type);

    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        snprintf(name, size, "%sint%zu", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
        break;
    case H5T_FLOAT:
        snprintf(name, size, "float%zu (mantissa of %zu bits)", bits, H5Tget_precision(type));
        if (bits == 16 || bits == 32 || bits == 64)
            snprintf(name, size, "float%zu", bits);
        break;
    case H5T_STRING:
        snprintf(name, size, "text");
        break;
    case H5T_COMPOUND:
        snprintf(name, size, "compound");
        break;
    default:
        snprintf(name, size, "an unusual type");
        break;
    }
}

/* IEEE binary16 as h5py makes it: sign 15, exponent 10..14, mantissa 0..9, bias 15. */
static bool make_half(hid_t type)
{
    return H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type, 2) >= 0 && H5Tset_ebias(type, 15) >= 0;
}

hid_t attn_h5_type(attn_dtype dtype)
{
    hid_t type;

    if (dtype == ATTN_FLOAT64)
        return H5Tcopy(H5T_NATIVE_DOUBLE);
    if (dtype == ATTN_BFLOAT16)
        return H5Tcopy(H5T_NATIVE_UINT16);
    type = H5Tcopy(H5T_NATIVE_FLOAT);
    if (dtype == ATTN_FLOAT16 && !make_half(type)) {
        attn_h5_close(type);
        return H5I_INVALID_HID;
    }
    return type;
}

/* Whether two types differ in nothing but their byte order. */
static bool same_but_order(hid_t type, hid_t native)
{
    const hid_t copy = H5Tcopy(native);
    const bool same = H5Tset_order(copy, H5Tget_order(type)) >= 0 && H5Tequal(type, copy) > 0;

    attn_h5_close(copy);
    return same;
}

static bool is_bfloat16(hid_t dataset, char *name, size_t size)
{
    char *text = NULL;
    bool is;

    if (!attn_h5_has_attribute(dataset, "dtype") || attn_h5_read_text(dataset, "", "dtype", &text, NULL) != ATTN_OK) {
        snprintf(name, size, "uint16 without the attribute dtype = \"bfloat16\"");
        return false;
    }
    is = strcmp(text, attn_dtype_name(ATTN_BFLOAT16)) == 0;
    if (!is)
        snprintf(name, size, "uint16 with the attribute dtype = \"%s\"", text);
    free(text);
    return is;
}

bool attn_h5_dtype_of(hid_t dataset, attn_dtype *out, char *name, size_t size)
{
    const hid_t type = H5Dget_type(dataset);
    bool found = false;

    attn_h5_type_name(type, name, size);
    for (int d = 0; d < ATTN_DTYPE_COUNT && !found; d++) {
        const hid_t ours = attn_h5_type((attn_dtype)d);

        found = same_but_order(type, ours);
        attn_h5_close(ours);
        if (found && d == ATTN_BFLOAT16)
            found = is_bfloat16(dataset, name, size);
        if (found)
            *out = (attn_dtype)d;
    }
    attn_h5_close(type);
    return found;
}

attn_status attn_h5_dtype_refuse(const char *path, const char *dataset, const char *type, attn_error *error)
{
    return attn_error_set(
        error, ATTN_INPUT,
        "%s: dataset %s has elements of type %s; float64, float32, float16 or bfloat16 (uint16 with the "
        "attribute dtype = \"bfloat16\") is needed",
        path, dataset, type);
}

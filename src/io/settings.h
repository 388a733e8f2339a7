/* The settings of an attention problem as files keep them: attributes of the root, and lists. */
#ifndef ATTN_IO_SETTINGS_H
#define ATTN_IO_SETTINGS_H

#include <attn/problem.h>

#include <hdf5.h>
#include <mpi.h>

/* The four optional lists of settings; each value has 8 bytes. X(NAME, dataset, real, extents) */
#define ATTN_SETTING_LIST(X)                                                                                           \
    X(ALIBI_SLOPES, "alibi_slopes", true, "[Hq]")                                                                      \
    X(SINKS, "sinks", true, "[Hq]")                                                                                    \
    X(KV_LEN, "kv_len", false, "[B]")                                                                                  \
    X(CU_SEQLENS, "cu_seqlens", false, "[documents + 1]")

typedef enum attn_setting {
#define ATTN_SETTING_ENUM(name, dataset, real, extents) ATTN_SETTING_##name,
    ATTN_SETTING_LIST(ATTN_SETTING_ENUM)
#undef ATTN_SETTING_ENUM
        ATTN_SETTING_COUNT
} attn_setting;

typedef struct attn_setting_values {
    int64_t count; /* 0: absent */
    void *values;  /* [count] of double or int64_t; owned */
} attn_setting_values;

/* All lists of a file; zeros are none. */
typedef struct attn_settings {
    attn_setting_values lists[ATTN_SETTING_COUNT];
} attn_settings;

/* Reads the settings of a file into a problem whose shape is known and checked, and checks the whole problem. By one
 * process.
 *   settings  out, the lists that the problem points to; released by the caller in any case
 * ATTN_INPUT, naming the file, the object and the value; ATTN_MEMORY. */
attn_status attn_settings_scan(hid_t file, const char *path, attn_problem *problem, attn_settings *settings,
                               attn_error *error);

/* Writes all settings of a problem that are not at their defaults, and what every file of the schema has; false on
 * failure. */
bool attn_settings_write(hid_t file, const char *schema, const attn_problem *problem, const attn_settings *settings);

/* Copies a problem's lists, and lets it point to the copies. ATTN_MEMORY. */
attn_status attn_settings_set(attn_settings *settings, attn_problem *problem, attn_error *error);

/* Collective. Gives every rank the lists of rank 0, whose problem and settings, pointers apart, all ranks have already.
 * ATTN_MEMORY, ATTN_MPI. */
attn_status attn_settings_share(MPI_Comm comm, attn_settings *settings, attn_problem *problem, attn_error *error);
void attn_settings_release(attn_settings *settings);

/* One optional attribute of the root. */
attn_status attn_settings_integer(hid_t file, const char *path, const char *name, int64_t absent, int64_t *out,
                                  attn_error *error);
attn_status attn_settings_real(hid_t file, const char *path, const char *name, double absent, double *out,
                               attn_error *error);

/* Passes on a status with the path before its message; what is wrong with a file is ATTN_INPUT. */
attn_status attn_settings_name_file(const char *path, attn_status status, const attn_error *found, attn_error *error);

#endif

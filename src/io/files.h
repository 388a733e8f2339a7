/* Files under their final names, whole or not at all, and lists of names. POSIX only, no HDF5. */
#ifndef ATTN_IO_FILES_H
#define ATTN_IO_FILES_H

#include <attn/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing list of texts. */
typedef struct attn_names {
    char **list; /* [count], owned */
    size_t count, capacity;
} attn_names;

#define ATTN_NAMES_EMPTY                                                                                               \
    {                                                                                                                  \
        NULL, 0, 0                                                                                                     \
    }

/* Appends a copy. ATTN_MEMORY. */
attn_status attn_names_append(attn_names *names, const char *name, attn_error *error);
void attn_names_sort(attn_names *names);
bool attn_names_contain(const attn_names *names, const char *name);
void attn_names_release(attn_names *names);

/* Formats into memory of its own, to be freed with free(); NULL when there is no memory. */
char *attn_text(const char *format, ...) ATTN_PRINTF(1, 2);

bool attn_text_ends(const char *text, const char *ending);

/* Last part of a path. */
const char *attn_path_base(const char *path);

/* Whether anything of that name exists; whether it is a folder. */
bool attn_path_exists(const char *path);
bool attn_path_is_folder(const char *path);

/* Appends the names (without the folder) of the entries of a folder that end in `ending`; ATTN_FILE when it cannot be
 * read. */
attn_status attn_folder_list(const char *folder, const char *ending, attn_names *out, attn_error *error);

/* Whether `path` can become a file: nothing is there, or a regular file, and the folder exists and can be written.
 * ATTN_FILE with the reason otherwise. */
attn_status attn_file_check_target(const char *path, attn_error *error);

/* Writes a file, replacing what was there. ATTN_FILE with the reason; nothing is left of the file then. */
attn_status attn_file_write(const char *path, const void *bytes, size_t count, attn_error *error);

/* Gives an open file a length, with its space on disk where the file system can do that; false with errno when there is
 * none. */
bool attn_file_reserve(int descriptor, int64_t length);

/* Makes `from` durable and gives it the name `to`, durably. ATTN_FILE; `from` is left as it is then. */
attn_status attn_file_publish(const char *from, const char *to, attn_error *error);

#endif

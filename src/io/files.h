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
 * ATTN_ARGUMENT with the reason otherwise, as another path is the remedy. */
attn_status attn_file_check_target(const char *path, attn_error *error);

/* Writes a file, replacing what was there. ATTN_FILE with the reason; nothing is left of the file then. */
attn_status attn_file_write(const char *path, const void *bytes, size_t count, attn_error *error);

/* Gives a file of fewer bytes that length, with its space on disk: where the file system cannot reserve, every block is
 * written. ATTN_FILE with the reason. */
attn_status attn_file_reserve(const char *path, int64_t length, attn_error *error);

/* The right to write the file of a name, of which there is one: FILE.lock is locked until it is released, or until the
 * process ends, however that happens. */
typedef struct attn_lock attn_lock;

/* ATTN_ARGUMENT while another process has it; ATTN_FILE, ATTN_MEMORY. */
attn_status attn_lock_take(const char *path, attn_lock **out, attn_error *error);
/* Removes FILE.lock. Takes NULL. */
void attn_lock_release(attn_lock *lock);

/* Makes `from` durable and gives it the name `to`, durably. ATTN_FILE; `from` is left as it is then, unless the message
 * says that `to` has its name but that the name may not be durable. */
attn_status attn_file_publish(const char *from, const char *to, attn_error *error);

#endif

/* Helpers of the tests that draw. */
#ifndef ATTN_TEST_PICTURES_H
#define ATTN_TEST_PICTURES_H

#include "study/synthetic.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static inline int gnuplot_missing(void)
{
    const char *path = getenv("PATH");
    char copy[8192];

    snprintf(copy, sizeof copy, "%s", path != NULL ? path : "");
    for (char *rest = NULL, *folder = strtok_r(copy, ":", &rest); folder != NULL; folder = strtok_r(NULL, ":", &rest)) {
        char program[4200];

        snprintf(program, sizeof program, "%.4000s/gnuplot", folder);
        if (access(program, X_OK) == 0)
            return 0;
    }
    attn_test_skip("gnuplot is not installed");
    return 1;
}

/* A new folder below the current one, left by remove_folder. */
static inline void make_folder(char *path)
{
    snprintf(path, 64, "test-plot-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(path));
}

static inline int count_files(const char *path)
{
    DIR *folder = opendir(path);
    int count = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static inline int begins_with(const char *path, const char *want, size_t length)
{
    char begin[16] = "";
    FILE *stream = fopen(path, "rb");
    size_t got = 0;

    if (stream != NULL) {
        got = fread(begin, 1, length, stream);
        fclose(stream);
    }
    return got == length && memcmp(begin, want, length) == 0;
}

#endif

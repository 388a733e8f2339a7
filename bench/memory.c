#include "memory.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Where the limits of a version of control groups stand. A file that is absent, or says "max", sets no limit. */
typedef struct cgroup_version {
    const char *mount;
    const char *limit, *used;
    const char *cache; /* in memory.stat: cached file pages that nobody is using */
} cgroup_version;

static const cgroup_version version1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                        "total_inactive_file"};
static const cgroup_version version2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"};

/* The number in a line "NAME NUMBER" of a file, or the first number of the file when name is NULL. */
static bool read_number(const char *path, const char *name, double *out)
{
    FILE *file = fopen(path, "r");
    char line[256];
    bool found = false;

    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        const size_t skip = name != NULL ? strlen(name) : 0;

        found = (name == NULL || (strncmp(line, name, skip) == 0 && strchr(" :", line[skip]) != NULL)) &&
                sscanf(line + skip, name != NULL ? "%*[ :]%lf" : "%lf", out) == 1;
        if (name == NULL)
            break;
    }
    fclose(file);
    return found && isfinite(*out);
}

static double read_file(const cgroup_version *of, const char *group, const char *file, const char *name,
                        double fallback)
{
    char path[2 * PATH_MAX];
    double value;

    snprintf(path, sizeof path, "%s%s/%s", of->mount, group, file);
    return read_number(path, name, &value) ? value : fallback;
}

/* What the limits of a group and of all above it leave. In a container the names of the groups outside lead nowhere,
 * and the walk ends at its own. */
static double left_in(const cgroup_version *of, char *group)
{
    double least = INFINITY;

    for (;;) {
        char *last = strrchr(group, '/');
        const double limit = read_file(of, group, of->limit, NULL, INFINITY);

        if (isfinite(limit)) {
            const double used = read_file(of, group, of->used, NULL, 0);
            const double cache = read_file(of, group, "memory.stat", of->cache, 0);

            least = fmin(least, fmax(0, limit - used + fmin(cache, used)));
        }
        if (last == NULL)
            return least;
        *last = '\0';
    }
}

/* Each line of /proc/self/cgroup is NUMBER:CONTROLLERS:PATH; version 2 has number 0 and no controllers. */
static double left_by_cgroups(void)
{
    FILE *file = fopen("/proc/self/cgroup", "r");
    char line[PATH_MAX];
    double least = INFINITY;

    if (file == NULL)
        return least;
    while (fgets(line, sizeof line, file) != NULL) {
        char *const controllers = strchr(line, ':');
        char *const group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

        line[strcspn(line, "\n")] = '\0';
        if (group != NULL && strncmp(line, "0::", 3) == 0)
            least = fmin(least, left_in(&version2, group + 1));
        else if (group != NULL && strncmp(controllers, ":memory:", 8) == 0)
            least = fmin(least, left_in(&version1, group + 1));
    }
    fclose(file);
    return least;
}

double memory_available(void)
{
    double kib;
    const double free_bytes = read_number("/proc/meminfo", "MemAvailable", &kib) ? kib * 1024 : INFINITY;

    return fmin(free_bytes, left_by_cgroups());
}

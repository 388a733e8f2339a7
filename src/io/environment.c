/* Provenance of a process: everything of machine and build that may change a time, found without being asked. */
#include "io/files.h"

#include "build_commit.h"
#include "build_info.h"

#include <attn/result.h>
#include <attn/version.h>

#include <hdf5.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 1024

extern char **environ;

/* Setting a value fails only without memory; the first failure is kept. */
typedef struct collector {
    attn_attributes *list;
    attn_status status;
} collector;

static void add_text(collector *c, const char *name, const char *value)
{
    if (c->status == ATTN_OK)
        c->status = attn_attributes_set_text(c->list, name, value);
}

static void add_integer(collector *c, const char *name, int64_t value)
{
    if (c->status == ATTN_OK)
        c->status = attn_attributes_set_integer(c->list, name, value);
}

static void add_real(collector *c, const char *name, double value)
{
    if (c->status == ATTN_OK)
        c->status = attn_attributes_set_real(c->list, name, value);
}

/* Reads the first line of a file without its end; false when there is none. */
static bool first_line(const char *path, char line[LINE_SIZE])
{
    FILE *const stream = fopen(path, "r");
    bool got;

    if (stream == NULL)
        return false;
    got = fgets(line, LINE_SIZE, stream) != NULL;
    fclose(stream);
    if (got)
        line[strcspn(line, "\n")] = '\0';
    return got && line[0] != '\0';
}

/* Stores the first line of a file where there is one. */
static void add_line(collector *c, const char *name, const char *path)
{
    char line[LINE_SIZE];

    if (first_line(path, line))
        add_text(c, name, line);
}

/* Finds "KEY : value" in a file of such lines. */
static bool find_value(const char *path, const char *key, char value[LINE_SIZE])
{
    FILE *const stream = fopen(path, "r");
    const size_t length = strlen(key);
    char line[LINE_SIZE];
    bool found = false;

    if (stream == NULL)
        return false;
    while (!found && fgets(line, sizeof line, stream) != NULL) {
        const char *rest = line + length;

        if (strncmp(line, key, length) != 0)
            continue;
        rest += strspn(rest, " \t");
        if (*rest != ':')
            continue;
        rest++;
        rest += strspn(rest, " \t");
        snprintf(value, LINE_SIZE, "%s", rest);
        value[strcspn(value, "\n")] = '\0';
        found = true;
    }
    fclose(stream);
    return found;
}

static void add_system(collector *c)
{
    const time_t now = time(NULL);
    struct utsname system;
    struct tm utc;
    char date[32];

    if (gmtime_r(&now, &utc) != NULL && strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0)
        add_text(c, "date", date);
    if (uname(&system) == 0) {
        add_text(c, "hostname", system.nodename);
        add_text(c, "system", system.sysname);
        add_text(c, "kernel", system.release);
        add_text(c, "architecture", system.machine);
    }
}

/* The caches of the first CPU, from sysfs: cache_l1d = "48K", and which CPUs share it. */
static void add_caches(collector *c)
{
    for (int i = 0; i < 8; i++) {
        char path[256], level[LINE_SIZE], type[LINE_SIZE], name[64], shared[96];
        const char *const folder = "/sys/devices/system/cpu/cpu0/cache/index";

        snprintf(path, sizeof path, "%s%d/level", folder, i);
        if (!first_line(path, level))
            return;
        snprintf(path, sizeof path, "%s%d/type", folder, i);
        if (!first_line(path, type))
            return;
        snprintf(name, sizeof name, "cache_l%.4s%s", level,
                 strcmp(type, "Data") == 0          ? "d"
                 : strcmp(type, "Instruction") == 0 ? "i"
                                                    : "");
        snprintf(shared, sizeof shared, "%s_cpus", name);
        snprintf(path, sizeof path, "%s%d/size", folder, i);
        add_line(c, name, path);
        snprintf(path, sizeof path, "%s%d/shared_cpu_list", folder, i);
        add_line(c, shared, path);
    }
}

static void add_cpu(collector *c)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    char value[LINE_SIZE];

    if (find_value("/proc/cpuinfo", "model name", value) || find_value("/proc/cpuinfo", "CPU part", value))
        add_text(c, "cpu_model", value);
    if (online > 0)
        add_integer(c, "cpus", online);
    add_line(c, "numa_nodes", "/sys/devices/system/node/online");
    add_caches(c);
    add_line(c, "cpu_governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    add_line(c, "cpu_driver", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver");
    add_line(c, "smt", "/sys/devices/system/cpu/smt/control");
}

/* "MemTotal: 16384 kB" of /proc/meminfo in bytes. */
static void add_memory(collector *c, const char *name, const char *key)
{
    char value[LINE_SIZE];
    long long kibibytes;

    if (find_value("/proc/meminfo", key, value) && sscanf(value, "%lld kB", &kibibytes) == 1)
        add_integer(c, name, (int64_t)kibibytes * 1024);
}

static void add_load(collector *c)
{
    char line[LINE_SIZE];
    double load[3];

    add_memory(c, "memory_bytes", "MemTotal");
    add_memory(c, "memory_available_bytes", "MemAvailable");
    add_line(c, "transparent_hugepages", "/sys/kernel/mm/transparent_hugepage/enabled");
    if (first_line("/proc/loadavg", line) && sscanf(line, "%lf %lf %lf", &load[0], &load[1], &load[2]) == 3) {
        add_real(c, "load_1min", load[0]);
        add_real(c, "load_5min", load[1]);
        add_real(c, "load_15min", load[2]);
    }
}

static void add_build(collector *c)
{
    unsigned major = 0, minor = 0, release = 0;
    char hdf5[64], mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length;

    add_text(c, "version", ATTN_VERSION);
    add_text(c, "commit", ATTN_BUILD_COMMIT);
    add_text(c, "compiler", ATTN_BUILD_COMPILER);
    add_text(c, "compile_flags", ATTN_BUILD_FLAGS);
    add_text(c, "kernel_flags", ATTN_BUILD_KERNEL_FLAGS);
    add_text(c, "build_type", ATTN_BUILD_TYPE);
    add_text(c, "sanitizers", ATTN_BUILD_SANITIZE);
    H5get_libversion(&major, &minor, &release);
    snprintf(hdf5, sizeof hdf5, "%u.%u.%u", major, minor, release);
    add_text(c, "hdf5", hdf5);
    if (MPI_Get_library_version(mpi, &length) == MPI_SUCCESS) {
        mpi[strcspn(mpi, "\n")] = '\0';
        add_text(c, "mpi", mpi);
    }
}

static bool begins(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Variables that change the kernel, how MPI and OpenMP run and where SLURM placed it; not who ran it, and not the
 * addresses and keys by which one launch's processes find each other. */
static bool is_wanted(const char *variable)
{
    static const char *const wanted[] = {"OMP_", "OMPI_", "SLURM_", "GOMP_", "KMP_", "ATTN_KERNEL="};
    static const char *const unwanted[] = {"SLURM_JOB_USER=",
                                           "SLURM_JOB_UID=",
                                           "SLURM_JOB_GID=",
                                           "SLURM_JOB_GROUP=",
                                           "SLURM_JOB_ACCOUNT=",
                                           "SLURM_WORKING_CLUSTER=",
                                           "SLURM_SUBMIT_DIR=",
                                           "SLURM_LAUNCH_NODE_IPADDR=",
                                           "SLURM_SRUN_COMM_HOST=",
                                           "OMPI_MCA_initial_wdir=",
                                           "OMPI_MCA_orte_hnp_uri=",
                                           "OMPI_MCA_orte_local_daemon_uri=",
                                           "OMPI_MCA_orte_precondition_transports=",
                                           "OMPI_MCA_orte_top_session_dir=",
                                           "OMPI_MCA_orte_jobfam_session_dir=",
                                           "OMPI_MCA_orte_job_session_dir=",
                                           "OMPI_FILE_LOCATION="};

    for (size_t i = 0; i < sizeof unwanted / sizeof unwanted[0]; i++)
        if (begins(variable, unwanted[i]))
            return false;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (begins(variable, wanted[i]))
            return true;
    return false;
}

static void add_variables(collector *c)
{
    attn_names variables = ATTN_NAMES_EMPTY;

    for (char **v = environ; *v != NULL && c->status == ATTN_OK; v++)
        if (is_wanted(*v))
            c->status = attn_names_append(&variables, *v, NULL);
    attn_names_sort(&variables);
    for (size_t i = 0; i < variables.count && c->status == ATTN_OK; i++) {
        const char *const variable = variables.list[i];
        const size_t length = strcspn(variable, "=");
        char *const name = attn_text("env.%.*s", (int)length, variable);

        if (name == NULL)
            c->status = ATTN_MEMORY;
        else if (variable[length] == '=')
            add_text(c, name, variable + length + 1);
        free(name);
    }
    attn_names_release(&variables);
}

attn_status attn_environment_collect(attn_attributes *environment, attn_error *error)
{
    collector c = {.list = environment, .status = ATTN_OK};

    add_system(&c);
    add_cpu(&c);
    add_load(&c);
    add_build(&c);
    add_variables(&c);
    if (c.status != ATTN_OK)
        return attn_error_set(error, c.status, "no memory for the provenance of this launch");
    return ATTN_OK;
}

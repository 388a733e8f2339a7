/* Preloaded into attnbench: counts what each rank moves between memory and files, as HDF5 is asked for it, as MPI-IO is
 * asked for it, and as the operating system sees it, and tells it on stderr at the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hdf5.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

enum { READ, WRITTEN, WAYS };

static struct {
    long long selected[WAYS]; /* bytes selected in the file by calls of H5Dread and H5Dwrite, in the file's type */
    long long moved[WAYS];    /* bytes of calls of MPI-IO */
    long long start[WAYS];    /* bytes that the process had moved when MPI started */
} counted;

/* A value of a file of lines "name: value", as in /proc. */
static long long value_of(const char *path, const char *name)
{
    FILE *stream = fopen(path, "r");
    char line[256];
    long long value = -1;

    while (stream != NULL && value < 0 && fgets(line, sizeof line, stream) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            sscanf(line + strlen(name), ": %lld", &value);
    if (stream != NULL)
        fclose(stream);
    return value;
}

static void note_start(void)
{
    counted.start[READ] = value_of("/proc/self/io", "rchar");
    counted.start[WRITTEN] = value_of("/proc/self/io", "wchar");
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    const int code = PMPI_Init_thread(argc, argv, required, provided);

    note_start();
    return code;
}

int MPI_Init(int *argc, char ***argv)
{
    const int code = PMPI_Init(argc, argv);

    note_start();
    return code;
}

int MPI_Finalize(void)
{
    const long long read = value_of("/proc/self/io", "rchar") - counted.start[READ];
    const long long written = value_of("/proc/self/io", "wchar") - counted.start[WRITTEN];
    int rank;

    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fprintf(stderr,
            "counted: rank %d hdf5_read %lld hdf5_written %lld mpi_read %lld mpi_written %lld process_read %lld "
            "process_written %lld peak_kib %lld\n",
            rank, counted.selected[READ], counted.selected[WRITTEN], counted.moved[READ], counted.moved[WRITTEN], read,
            written, value_of("/proc/self/status", "VmHWM"));
    return PMPI_Finalize();
}

static void count_selected(int way, hid_t dataset, hid_t space)
{
    const hid_t type = H5Dget_type(dataset), own = space == H5S_ALL ? H5Dget_space(dataset) : H5Scopy(space);

    counted.selected[way] += (long long)H5Sget_select_npoints(own) * (long long)H5Tget_size(type);
    H5Sclose(own);
    H5Tclose(type);
}

herr_t H5Dread(hid_t dset_id, hid_t mem_type_id, hid_t mem_space_id, hid_t file_space_id, hid_t dxpl_id, void *buf)
{
    herr_t (*real)(hid_t, hid_t, hid_t, hid_t, hid_t, void *);

    *(void **)&real = dlsym(RTLD_NEXT, "H5Dread");
    count_selected(READ, dset_id, file_space_id);
    return real(dset_id, mem_type_id, mem_space_id, file_space_id, dxpl_id, buf);
}

herr_t H5Dwrite(hid_t dset_id, hid_t mem_type_id, hid_t mem_space_id, hid_t file_space_id, hid_t dxpl_id,
                const void *buf)
{
    herr_t (*real)(hid_t, hid_t, hid_t, hid_t, hid_t, const void *);

    *(void **)&real = dlsym(RTLD_NEXT, "H5Dwrite");
    count_selected(WRITTEN, dset_id, file_space_id);
    return real(dset_id, mem_type_id, mem_space_id, file_space_id, dxpl_id, buf);
}

static int count_moved(int way, int code, MPI_Status *status)
{
    MPI_Count bytes = 0;

    if (code == MPI_SUCCESS && MPI_Get_elements_x(status, MPI_BYTE, &bytes) == MPI_SUCCESS && bytes > 0)
        counted.moved[way] += bytes;
    return code;
}

#define WRAP(name, way, data_type)                                                                                     \
    int MPI_File_##name(MPI_File file, MPI_Offset offset, data_type data, int count, MPI_Datatype type,                \
                        MPI_Status *status)                                                                            \
    {                                                                                                                  \
        MPI_Status own;                                                                                                \
        const int code = PMPI_File_##name(file, offset, data, count, type, &own);                                      \
                                                                                                                       \
        if (status != MPI_STATUS_IGNORE)                                                                               \
            *status = own;                                                                                             \
        return count_moved(way, code, &own);                                                                           \
    }

WRAP(read_at, READ, void *)
WRAP(read_at_all, READ, void *)
WRAP(write_at, WRITTEN, const void *)
WRAP(write_at_all, WRITTEN, const void *)

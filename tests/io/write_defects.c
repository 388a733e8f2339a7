/* write_defects FOLDER: writes the files of defects.h into an existing folder, "nan sink" as nan-sink.h5, those
 * of layer files with layer- before their names. One process. */
#include "defects.h"

#include <mpi.h>
#include <stdio.h>

static void write_all(const char *folder, const char *prefix, const defect *list, size_t count,
                      void (*make)(const char *path, void (*spoil)(hid_t file)))
{
    for (size_t i = 0; i < count; i++) {
        char path[4096];
        const int begin = snprintf(path, sizeof path, "%s/%s", folder, prefix);

        snprintf(path + begin, sizeof path - (size_t)begin, "%s.h5", list[i].name);
        for (char *c = path + begin; *c != '\0'; c++)
            if (*c == ' ')
                *c = '-';
        make(path, list[i].spoil);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 || MPI_Init(&argc, &argv) != MPI_SUCCESS)
        return 1;
    write_all(argv[1], "", defects, defect_count, file_make);
    write_all(argv[1], "", oddities, oddity_count, file_make);
    write_all(argv[1], "layer-", layer_defects, layer_defect_count, layer_file_make);
    write_all(argv[1], "layer-", layer_oddities, layer_oddity_count, layer_file_make);
    return MPI_Finalize() != MPI_SUCCESS;
}

#include "io/settings.h"

#include "io/h5.h"

#include "core/checked.h"

#include <attn/comm.h>
#include <attn/version.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_SHOWN 300

static const struct {
    const char *name;
    bool real;
    const char *extents;
} kinds[ATTN_SETTING_COUNT] = {
#define SETTING_ROW(name, dataset, real, extents) [ATTN_SETTING_##name] = {dataset, real, extents},
    ATTN_SETTING_LIST(SETTING_ROW)
#undef SETTING_ROW
};

/* Lets the problem's lists point to the settings. */
static void link_lists(const attn_settings *settings, attn_problem *p)
{
    p->score.alibi_slopes = settings->lists[ATTN_SETTING_ALIBI_SLOPES].values;
    p->score.sinks = settings->lists[ATTN_SETTING_SINKS].values;
    p->mask.kv_len = settings->lists[ATTN_SETTING_KV_LEN].values;
    p->mask.cu_seqlens = settings->lists[ATTN_SETTING_CU_SEQLENS].values;
    p->mask.documents = p->mask.cu_seqlens != NULL ? settings->lists[ATTN_SETTING_CU_SEQLENS].count - 1 : 0;
}

attn_status attn_settings_set(attn_settings *settings, attn_problem *problem, attn_error *error)
{
    const struct {
        const void *values;
        int64_t count;
    } lists[ATTN_SETTING_COUNT] = {
        [ATTN_SETTING_ALIBI_SLOPES] = {problem->score.alibi_slopes, problem->shape.heads},
        [ATTN_SETTING_SINKS] = {problem->score.sinks, problem->shape.heads},
        [ATTN_SETTING_KV_LEN] = {problem->mask.kv_len, problem->shape.batch},
        [ATTN_SETTING_CU_SEQLENS] = {problem->mask.cu_seqlens, problem->mask.documents + 1},
    };

    for (int s = 0; s < ATTN_SETTING_COUNT; s++) {
        attn_setting_values *const to = &settings->lists[s];

        if (lists[s].values == NULL)
            continue;
        to->values = attn_calloc_array(lists[s].count, sizeof(int64_t));
        if (to->values == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for %lld values of %s", (long long)lists[s].count,
                                  kinds[s].name);
        to->count = lists[s].count;
        memcpy(to->values, lists[s].values, (size_t)to->count * sizeof(int64_t));
    }
    link_lists(settings, problem);
    return ATTN_OK;
}

attn_status attn_settings_share(MPI_Comm comm, attn_settings *settings, attn_problem *problem, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (int s = 0; attn_comm_rank(comm) != 0 && s < ATTN_SETTING_COUNT; s++) {
        attn_setting_values *const list = &settings->lists[s];

        list->values = list->count > 0 ? attn_calloc_array(list->count, sizeof(int64_t)) : NULL;
        if (list->count > 0 && list->values == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld values of %s", (long long)list->count,
                                    kinds[s].name);
    }
    status = attn_comm_agree(comm, status, error);
    for (int s = 0; s < ATTN_SETTING_COUNT && status == ATTN_OK; s++)
        status = attn_comm_broadcast(comm, 0, settings->lists[s].values,
                                     (size_t)settings->lists[s].count * sizeof(int64_t), error);
    link_lists(settings, problem);
    return status;
}

void attn_settings_release(attn_settings *settings)
{
    for (int s = 0; s < ATTN_SETTING_COUNT; s++)
        free(settings->lists[s].values);
}

/* ---- Reading ---- */

attn_status attn_settings_integer(hid_t file, const char *path, const char *name, int64_t absent, int64_t *out,
                                  attn_error *error)
{
    *out = absent;
    return attn_h5_has_attribute(file, name) ? attn_h5_read_integer(file, path, name, out, error) : ATTN_OK;
}

attn_status attn_settings_real(hid_t file, const char *path, const char *name, double absent, double *out,
                               attn_error *error)
{
    *out = absent;
    return attn_h5_has_attribute(file, name) ? attn_h5_read_real(file, path, name, out, error) : ATTN_OK;
}

/* Checks the extents and the type of a list. Its length, where the shape fixes it, is `length`, otherwise 0. */
static attn_status check_list(const char *path, attn_setting setting, hid_t type, int rank, hsize_t count,
                              int64_t length, attn_error *error)
{
    const char *const name = kinds[setting].name, *const extents = kinds[setting].extents;
    const bool real = kinds[setting].real;
    char type_name[64];

    attn_h5_type_name(type, type_name, sizeof type_name);
    if (rank != 1)
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %d dimensions; %s is needed", path, name, rank,
                              extents);
    if (length > 0 && count != (hsize_t)length)
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %llu values; %s = %" PRId64 " are needed", path,
                              name, (unsigned long long)count, extents, length);
    if (length == 0 && count < 2)
        return attn_error_set(error, ATTN_INPUT,
                              "%s: dataset %s has %llu values; %s of one document or more are needed", path, name,
                              (unsigned long long)count, extents);
    if (length == 0 && count > ATTN_DOCUMENTS_MAX + 1)
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %llu values; at most %d are accepted", path, name,
                              (unsigned long long)count, ATTN_DOCUMENTS_MAX + 1);
    if (H5Tget_class(type) != (real ? H5T_FLOAT : H5T_INTEGER))
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s has elements of type %s; %s are needed", path, name,
                              type_name, real ? "reals" : "integers");
    return ATTN_OK;
}

static attn_status scan_list(hid_t file, const char *path, attn_setting setting, int64_t length,
                             attn_setting_values *out, attn_error *error)
{
    const char *const name = kinds[setting].name;
    hsize_t extents[H5S_MAX_RANK] = {0};
    hid_t dataset, type;
    int rank;
    attn_status status;

    if (!attn_h5_has_object(file, name))
        return ATTN_OK;
    status = attn_h5_open_dataset(file, path, name, &dataset, &rank, extents, error);
    if (status != ATTN_OK)
        return status;
    type = H5Dget_type(dataset);
    status = check_list(path, setting, type, rank, extents[0], length, error);
    if (status == ATTN_OK) {
        out->values = extents[0] <= INT64_MAX ? attn_calloc_array((int64_t)extents[0], sizeof(int64_t)) : NULL;
        if (out->values == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "%s: no memory for the %llu values of dataset %s", path,
                                    (unsigned long long)extents[0], name);
        else if (H5Dread(dataset, kinds[setting].real ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64, H5S_ALL, H5S_ALL,
                         H5P_DEFAULT, out->values) < 0)
            status = attn_h5_error(error, ATTN_INPUT, "%s: dataset %s cannot be read", path, name);
        else
            out->count = (int64_t)extents[0];
    }
    attn_h5_close(type);
    attn_h5_close(dataset);
    return status;
}

attn_status attn_settings_name_file(const char *path, attn_status status, const attn_error *found, attn_error *error)
{
    if (status == ATTN_OK)
        return status;
    return attn_error_set(error, status == ATTN_ARGUMENT ? ATTN_INPUT : status, "%.*s: %s", PATH_MAX_SHOWN, path,
                          found->message);
}

static attn_status scan_attributes(hid_t file, const char *path, attn_problem *p, attn_error *error)
{
    int64_t causal = 0, seed = 0;
    attn_status status = attn_settings_integer(file, path, "causal", 0, &causal, error);

    if (status == ATTN_OK && causal != 0 && causal != 1)
        status =
            attn_error_set(error, ATTN_INPUT, "%s: attribute causal is %" PRId64 "; 0 or 1 is needed", path, causal);
    p->mask.causal = causal == 1;
    if (status == ATTN_OK)
        status = attn_settings_integer(file, path, "window_left", -1, &p->mask.window_left, error);
    if (status == ATTN_OK)
        status = attn_settings_integer(file, path, "window_right", -1, &p->mask.window_right, error);
    if (status == ATTN_OK)
        status = attn_settings_real(file, path, "scale", attn_scale_default(p->shape.head_dim), &p->score.scale, error);
    if (status == ATTN_OK)
        status = attn_settings_real(file, path, "softcap", 0, &p->score.softcap, error);
    if (status == ATTN_OK)
        status = attn_settings_real(file, path, "dropout", 0, &p->dropout, error);
    if (status == ATTN_OK)
        status = attn_settings_integer(file, path, "dropout_seed", 0, &seed, error);
    p->dropout_seed = (uint64_t)seed;
    return status;
}

attn_status attn_settings_scan(hid_t file, const char *path, attn_problem *problem, attn_settings *settings,
                               attn_error *error)
{
    const int64_t lengths[ATTN_SETTING_COUNT] = {
        [ATTN_SETTING_ALIBI_SLOPES] = problem->shape.heads,
        [ATTN_SETTING_SINKS] = problem->shape.heads,
        [ATTN_SETTING_KV_LEN] = problem->shape.batch,
    };
    attn_error found = ATTN_ERROR_INIT;
    attn_status status = scan_attributes(file, path, problem, error);

    for (int s = 0; s < ATTN_SETTING_COUNT && status == ATTN_OK; s++)
        status = scan_list(file, path, (attn_setting)s, lengths[s], &settings->lists[s], error);
    if (status != ATTN_OK)
        return status;
    link_lists(settings, problem);
    return attn_settings_name_file(path, attn_problem_check(problem, &found), &found, error);
}

/* ---- Writing ---- */

static bool write_list(hid_t file, attn_setting setting, const attn_setting_values *list)
{
    const hid_t type = kinds[setting].real ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64;
    const hsize_t count = (hsize_t)list->count;
    const hid_t space = H5Screate_simple(1, &count, NULL);
    const hid_t dataset = H5Dcreate2(file, kinds[setting].name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const bool made = dataset >= 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, list->values) >= 0;

    attn_h5_close(dataset);
    attn_h5_close(space);
    return made;
}

bool attn_settings_write(hid_t file, const char *schema, const attn_problem *p, const attn_settings *settings)
{
    bool made = attn_h5_write_text(file, "schema", schema) && attn_h5_write_integer(file, "schema_version", 1) &&
                attn_h5_write_text(file, "software", "attnbench") &&
                attn_h5_write_text(file, "softwareVersion", ATTN_VERSION);

    if (p->mask.causal)
        made = made && attn_h5_write_integer(file, "causal", 1);
    if (p->mask.window_left >= 0)
        made = made && attn_h5_write_integer(file, "window_left", p->mask.window_left);
    if (p->mask.window_right >= 0)
        made = made && attn_h5_write_integer(file, "window_right", p->mask.window_right);
    if (p->score.scale != attn_scale_default(p->shape.head_dim))
        made = made && attn_h5_write_real(file, "scale", p->score.scale);
    if (p->score.softcap > 0)
        made = made && attn_h5_write_real(file, "softcap", p->score.softcap);
    if (p->dropout > 0)
        made = made && attn_h5_write_real(file, "dropout", p->dropout) &&
               attn_h5_write_integer(file, "dropout_seed", (int64_t)p->dropout_seed);
    for (int s = 0; s < ATTN_SETTING_COUNT && made; s++)
        if (settings->lists[s].count > 0)
            made = write_list(file, (attn_setting)s, &settings->lists[s]);
    return made;
}

#include "launch.h"
#include "filling.h"

#include <attn/result.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* 24 bits that differ between launches: from the system, or else from clock and process number. */
static unsigned random_bits(void)
{
    unsigned char bytes[3];
    FILE *file = fopen("/dev/urandom", "rb");
    size_t got = 0;

    if (file != NULL) {
        got = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
    }
    if (got == sizeof bytes)
        return (unsigned)bytes[0] << 16 | (unsigned)bytes[1] << 8 | bytes[2];
    return ((unsigned)clock() * 2654435761U ^ (unsigned)getpid() * 40503U) & 0xffffffU;
}

attn_status launch_make_id(const bench *launch, char id[LAUNCH_ID_SIZE], attn_error *error)
{
    if (launch->rank == 0) {
        const time_t now = time(NULL);
        struct tm local;
        char date[20] = "";

        if (localtime_r(&now, &local) != NULL)
            strftime(date, sizeof date, "%Y%m%dT%H%M%S", &local);
        snprintf(id, LAUNCH_ID_SIZE, "%s-%06x", date, random_bits());
    }
    return attn_comm_broadcast(launch->comm, 0, id, LAUNCH_ID_SIZE, error);
}

static attn_status describe(const bench *launch, const rank_group *all, uint64_t order_seed, const char *hosts,
                            attn_attributes *environment, attn_error *error)
{
    filling to = {environment, attn_environment_collect(environment, error)};

    put_text(&to, "command_line", launch->command_line);
    put_integer(&to, "launch_ranks", launch->ranks);
    put_text(&to, "hosts", hosts);
    put_text(&to, "bindings", all->bindings != NULL ? all->bindings : "");
    put_integer(&to, "order_seed", (int64_t)order_seed);
    return to.status;
}

attn_status launch_environment(const bench *launch, const rank_group *all, uint64_t order_seed, attn_attributes **out,
                               attn_error *error)
{
    char host[256] = "unknown", *hosts = NULL;
    attn_status status;

    *out = NULL;
    if (gethostname(host, sizeof host) == 0)
        host[sizeof host - 1] = '\0';
    status = attn_comm_gather_text(launch->comm, host, &hosts, error);
    if (status == ATTN_OK && launch->rank == 0) {
        status = attn_attributes_create(out, error);
        if (status == ATTN_OK)
            status = describe(launch, all, order_seed, hosts, *out, error);
    }
    free(hosts);
    status = attn_comm_agree(launch->comm, status, error);
    if (status != ATTN_OK) {
        attn_attributes_destroy(*out);
        *out = NULL;
    }
    return status;
}

/* The tables of exchanges and combines: a new one is one line in its list here and one file in dist/. */
#include "plan/exchange.h"

#include <string.h>

#define EXCHANGE_LIST(X)                                                                                               \
    X(none)                                                                                                            \
    X(allgather)                                                                                                       \
    X(ring)                                                                                                            \
    X(ring_q)                                                                                                          \
    X(tree)                                                                                                            \
    X(hierarchical)                                                                                                    \
    X(halo)                                                                                                            \
    X(shared)                                                                                                          \
    X(alltoall)                                                                                                        \
    X(hybrid)

#define COMBINE_LIST(X)                                                                                                \
    X(allgather)                                                                                                       \
    X(none)

#define DECLARE_EXCHANGE(name) extern const attn_exchange attn_exchange_##name;
EXCHANGE_LIST(DECLARE_EXCHANGE)
#define DECLARE_COMBINE(name) extern const attn_combine attn_combine_##name;
COMBINE_LIST(DECLARE_COMBINE)

static const attn_exchange *const exchanges[] = {
#define EXCHANGE_ROW(name) &attn_exchange_##name,
    EXCHANGE_LIST(EXCHANGE_ROW)};

static const attn_combine *const combines[] = {
#define COMBINE_ROW(name) &attn_combine_##name,
    COMBINE_LIST(COMBINE_ROW)};

size_t attn_exchange_count(void)
{
    return sizeof exchanges / sizeof exchanges[0];
}

const attn_exchange *attn_exchange_at(size_t index)
{
    return exchanges[index];
}

const attn_exchange *attn_exchange_find(const char *name)
{
    for (size_t i = 0; i < attn_exchange_count(); i++)
        if (strcmp(exchanges[i]->name, name) == 0)
            return exchanges[i];
    return NULL;
}

const char *attn_exchange_name(const attn_exchange *exchange)
{
    return exchange->name;
}

const char *attn_exchange_summary(const attn_exchange *exchange)
{
    return exchange->summary;
}

bool attn_exchange_transfers(const attn_exchange *exchange, attn_transfer transfer)
{
    return transfer > ATTN_TRANSFER_AUTO && transfer < ATTN_TRANSFER_COUNT &&
           (exchange->transfers >> transfer & 1) != 0;
}

static const struct {
    const char *name, *meaning;
} transfers[] = {[ATTN_TRANSFER_AUTO] = {"auto", "the exchange's own choice"},
#define TRANSFER_ROW(name, text, meaning) [ATTN_TRANSFER_##name] = {text, meaning},
                 ATTN_TRANSFER_LIST(TRANSFER_ROW)};

const char *attn_transfer_name(attn_transfer transfer)
{
    return (unsigned)transfer < ATTN_TRANSFER_COUNT ? transfers[transfer].name : "unknown";
}

const char *attn_transfer_meaning(attn_transfer transfer)
{
    return (unsigned)transfer < ATTN_TRANSFER_COUNT ? transfers[transfer].meaning : "unknown";
}

attn_transfer attn_transfer_find(const char *name)
{
    int transfer = 0;

    while (transfer < ATTN_TRANSFER_COUNT && strcmp(transfers[transfer].name, name) != 0)
        transfer++;
    return (attn_transfer)transfer;
}

size_t attn_combine_count(void)
{
    return sizeof combines / sizeof combines[0];
}

const attn_combine *attn_combine_at(size_t index)
{
    return combines[index];
}

const attn_combine *attn_combine_find(const char *name)
{
    for (size_t i = 0; i < attn_combine_count(); i++)
        if (strcmp(combines[i]->name, name) == 0)
            return combines[i];
    return NULL;
}

const char *attn_combine_name(const attn_combine *combine)
{
    return combine->name;
}

const char *attn_combine_summary(const attn_combine *combine)
{
    return combine->summary;
}

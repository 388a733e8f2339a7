/* attnbench probe: what the machine can do at best, measured by all ranks at the same time. */
#include "groups.h"
#include "names.h"
#include "tables.h"

#include <attn/probe.h>
#include <attn/result.h>
#include <attn/tuning.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const option_key keys[] = {OPTION_PROBE, OPTION_THREADS, OPTION_PROBE_TIME, OPTION_FORMAT};

static const option_set set = {
    .usage = "attnbench probe [OPTION...]",
    .about =
        "Measures what this machine can do at best: peaks of multiply-adds and of bfloat16 products at each width of "
        "vectors that the CPU has, the same fed from the L1 cache, exponentials, and the bandwidth of memory. All "
        "ranks measure at the same time; a value is the best of many short rounds, summed over the ranks, beside "
        "it the slowest and the fastest rank. Without --probe several ranks also measure messages between them: each "
        "sends "
        "to the next while all do.",
    .examples = "  attnbench probe\n"
                "  mpirun -n 4 attnbench probe --probe read-bandwidth --threads 1,2\n"
                "  mpirun -n 2 attnbench probe --max-time 2 --format markdown\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
};

/* All that is to be measured, and the table that grows on rank 0. */
typedef struct probing {
    const bench *launch;
    int_list probes, threads;
    double seconds;
    bool links; /* between ranks too */
    attn_table_format format;
    rank_groups groups;
    const rank_group *all; /* all ranks of the launch */
    attn_table *table;     /* on rank 0 */
} probing;

/* What the ranks measured. */
typedef struct probed {
    double best, median; /* sums over the ranks */
    double slowest, fastest;
    attn_probe_result own; /* this rank's */
} probed;

static attn_status read_settings(const options *given, probing *all, attn_error *error)
{
    const char *threads = option_text(given, OPTION_THREADS);
    attn_status status = parse_names(option_text(given, OPTION_PROBE), &names_probe, &all->probes, error);

    if (status == ATTN_OK && threads != NULL)
        status = parse_integers(option_label(OPTION_THREADS), threads, NUMBER_POSITIVE, &all->threads, error);
    for (int64_t i = 0; status == ATTN_OK && i < all->threads.count; i++)
        if (all->threads.values[i] > SHRT_MAX)
            status = attn_error_set(error, ATTN_ARGUMENT, "--threads %lld: 1 to %d is accepted",
                                    (long long)all->threads.values[i], SHRT_MAX);
    if (status == ATTN_OK)
        status = option_real(given, OPTION_PROBE_TIME, REAL_POSITIVE, &all->seconds, error);
    if (status == ATTN_OK)
        status = tables_format(given, &all->format, error);
    return status;
}

/* Finds the cores and their default number of threads. */
static attn_status survey(probing *all, attn_error *error)
{
    int64_t ranks = all->launch->ranks;
    const int_list list = {&ranks, 1};
    attn_status status = rank_groups_create(all->launch, &list, &all->groups, error);

    if (status != ATTN_OK)
        return status;
    all->all = &all->groups.groups[0];
    status = all->threads.count == 0 ? int_list_append(&all->threads, all->all->threads, error) : ATTN_OK;
    return attn_comm_agree(all->launch->comm, status, error);
}

static bool takes_turns(const probing *all, int threads)
{
    return (int64_t)all->launch->ranks * threads > all->all->cores;
}

/* Collective. ATTN_UNSUPPORTED with the reason of the lowest rank that cannot. */
static attn_status measure(const probing *all, const attn_probe *probe, int threads, probed *out, attn_error *error)
{
    const MPI_Comm comm = all->launch->comm;
    const attn_probe_setup setup = {.threads = threads,
                                    .seconds = all->seconds,
                                    .processes = all->all->node_ranks,
                                    .memory = all->all->memory / 4 / all->all->node_ranks};
    double sums[2], least, most;
    attn_status status = attn_comm_barrier(comm, error);

    if (status == ATTN_OK)
        status = attn_comm_agree(comm, attn_probe_run(probe, &setup, &out->own, error), error);
    if (status != ATTN_OK)
        return status;
    /* Where threads take turns on a core, the best round is the luck of one. */
    least = most = sums[0] = takes_turns(all, threads) ? out->own.mean : out->own.best;
    sums[1] = out->own.median;
    status = attn_comm_sum(comm, sums, 2, error);
    if (status == ATTN_OK)
        status = attn_comm_min(comm, &least, 1, error);
    if (status == ATTN_OK)
        status = attn_comm_max(comm, &most, 1, error);
    out->best = sums[0];
    out->median = sums[1];
    out->slowest = least;
    out->fastest = most;
    return status;
}

/* A number in units of 10^9. */
static void add_number(attn_table *table, double value)
{
    attn_table_cell(table, "%.*f", value < 1e11 ? 2 : 1, 1e-9 * value);
}

static void add_row(const probing *all, const attn_probe *probe, int threads, const probed *made, const char *reason)
{
    attn_table *table = all->table;
    const bool csv = all->format == ATTN_TABLE_CSV, turns = takes_turns(all, threads);

    attn_table_cell(table, "%s", attn_probe_name(probe));
    attn_table_cell(table, "%d%s", threads, turns && !csv ? "*" : "");
    if (reason != NULL) {
        for (int cell = 0; cell < 5; cell++)
            attn_table_cell(table, "-");
        attn_table_cell(table, "G%s", attn_probe_unit(probe));
        attn_table_cell(table, "%s", reason);
    } else {
        add_number(table, made->best);
        add_number(table, made->slowest);
        add_number(table, made->fastest);
        add_number(table, made->median);
        attn_table_cell(table, "%lld", (long long)made->own.rounds);
        attn_table_cell(table, "G%s", attn_probe_unit(probe));
        attn_table_cell(table, "%s%s%s", made->own.remark, csv && turns && made->own.remark[0] != '\0' ? "; " : "",
                        csv && turns ? "oversubscribed" : "");
    }
    attn_table_end_row(table);
}

/* Collective. A probe that cannot run here is a row with its reason. */
static attn_status probe_all(const probing *all, attn_error *error)
{
    for (int64_t p = 0; p < all->probes.count; p++)
        for (int64_t t = 0; t < all->threads.count; t++) {
            const attn_probe *probe = attn_probe_at((size_t)all->probes.values[p]);
            const int threads = (int)all->threads.values[t];
            probed made = {.best = 0};
            attn_error why = ATTN_ERROR_INIT;
            const attn_status status = measure(all, probe, threads, &made, &why);

            if (status != ATTN_OK && status != ATTN_UNSUPPORTED && status != ATTN_MEMORY)
                return attn_error_set(error, status, "%s", why.message);
            if (all->launch->rank == 0)
                add_row(all, probe, threads, &made, status != ATTN_OK ? why.message : NULL);
        }
    return ATTN_OK;
}

/* A link: what each rank sends while all do. */
static void add_link(const probing *all, const char *name, const attn_link *link)
{
    attn_table *table = all->table;
    const double rate = link->beta > 0 ? 1 / link->beta : 0;

    attn_table_cell(table, "%s", name);
    attn_table_cell(table, "%d", 1);
    add_number(table, rate * all->launch->ranks);
    add_number(table, rate);
    attn_table_cell(table, "-");
    attn_table_cell(table, "-");
    attn_table_cell(table, "-");
    attn_table_cell(table, "GB/s");
    attn_table_cell(table, "%.3g us a message, %.0f %% hidden behind computing", 1e6 * link->alpha, 100 * link->hidden);
    attn_table_end_row(table);
}

/* Collective. Links between ranks are probed with all else, where there are any. */
static attn_status probe_links(const probing *all, attn_error *error)
{
    attn_link node = {.origin = ATTN_ORIGIN_DEFAULT}, network = {.origin = ATTN_ORIGIN_DEFAULT};
    attn_status status;

    if (!all->links || all->launch->ranks == 1)
        return ATTN_OK;
    status = attn_network_measure(all->launch->comm, all->all->consecutive, &node, &network, error);
    if (status != ATTN_OK || all->launch->rank != 0)
        return status;
    if (node.origin == ATTN_ORIGIN_MEASURED)
        add_link(all, "messages-in-node", &node);
    if (network.origin == ATTN_ORIGIN_MEASURED)
        add_link(all, "messages-between", &network);
    return ATTN_OK;
}

/* Rank 0: the CPU and what the ranks have of it. */
static attn_status print_machine(const probing *all, attn_error *error)
{
    attn_attributes *environment = NULL;
    attn_status status = attn_attributes_create(&environment, error);
    const char *cache;

    if (status == ATTN_OK)
        status = attn_environment_collect(environment, error);
    if (status == ATTN_OK) {
        cache = attn_attributes_text(environment, "cache_l3", "");
        printf("%s, %s%s%d rank%s on %d core%s of %d node%s\n",
               attn_attributes_text(environment, "cpu_model", "unknown CPU"), cache,
               *cache != '\0' ? " of L3 cache, " : "", all->launch->ranks, all->launch->ranks > 1 ? "s" : "",
               all->all->cores, all->all->cores > 1 ? "s" : "", all->all->nodes, all->all->nodes > 1 ? "s" : "");
        printf("widest vectors: %s\n", attn_probe_needs(attn_probe_peak(ATTN_FLOAT32)));
        printf("all ranks at the same time; the best of short rounds, and the median of them\n\n");
    }
    attn_attributes_destroy(environment);
    return status;
}

/* Rank 0. */
static attn_status print_table(const probing *all, attn_error *error)
{
    bool turns = false;
    attn_status status = all->format == ATTN_TABLE_CSV ? ATTN_OK : print_machine(all, error);

    if (status == ATTN_OK)
        status = attn_table_print(all->table, all->format, stdout);
    for (int64_t t = 0; t < all->threads.count; t++)
        turns = turns || takes_turns(all, (int)all->threads.values[t]);
    if (status == ATTN_OK && turns && all->format != ATTN_TABLE_CSV)
        printf("\n%s more threads than cores: they take turns, and the mean of the rounds counts instead of the best\n",
               all->format == ATTN_TABLE_MARKDOWN ? "\\*" : "*");
    return status;
}

static attn_status perform(const options *given, probing *all, attn_error *error)
{
    static const char columns[] = "<probe|threads|all ranks|slowest rank|fastest rank|median|rounds|<unit|<remark";
    const MPI_Comm comm = all->launch->comm;
    attn_status status = read_settings(given, all, error);

    if (status == ATTN_OK)
        status = survey(all, error);
    if (status != ATTN_OK)
        return status;
    if (all->launch->rank == 0)
        status = attn_table_create(columns, &all->table, error);
    status = attn_comm_agree(comm, status, error);
    all->links = !option_given(given, OPTION_PROBE);
    if (status == ATTN_OK)
        status = probe_all(all, error);
    if (status == ATTN_OK)
        status = probe_links(all, error);
    if (status == ATTN_OK && all->launch->rank == 0)
        status = print_table(all, error);
    return status;
}

attn_status cmd_probe(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    probing all = {.launch = launch};
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    (void)wrong;
    if (status != ATTN_OK)
        return status;
    if (option_given(given, OPTION_HELP)) {
        if (launch->rank == 0)
            options_help(&set);
    } else {
        status = perform(given, &all, error);
    }
    attn_table_destroy(all.table);
    if (status != ATTN_MPI) /* collective */
        rank_groups_release(&all.groups);
    free(all.probes.values);
    free(all.threads.values);
    options_destroy(given);
    return status;
}

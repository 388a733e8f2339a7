/* attnbench machine: what a result file would record of this machine and build. */
#include "options.h"

#include <attn/result.h>

#include <stdio.h>

static const option_set set = {
    .usage = "attnbench machine [OPTION...]",
    .about = "Prints what a result file records of the machine of rank 0 and of this build.\n",
    .examples = "  attnbench machine\n",
};

static attn_status print_environment(attn_error *error)
{
    attn_attributes *environment;
    attn_status status = attn_attributes_create(&environment, error);

    if (status == ATTN_OK)
        status = attn_environment_collect(environment, error);
    for (size_t i = 0; status == ATTN_OK && i < attn_attributes_count(environment); i++) {
        const attn_attribute *attribute = attn_attributes_at(environment, i);
        char value[4096];

        attn_attribute_format(attribute, value, sizeof value);
        printf("%s: %s\n", attribute->name, value);
    }
    attn_attributes_destroy(environment);
    return status;
}

attn_status cmd_machine(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    (void)wrong;
    if (status != ATTN_OK)
        return status;
    if (launch->rank == 0) {
        if (option_given(given, OPTION_HELP))
            options_help(&set);
        else
            status = print_environment(error);
    }
    options_destroy(given);
    return status;
}

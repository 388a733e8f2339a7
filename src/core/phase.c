#include <attn/phase.h>

#include <time.h>

static const struct {
    const char *name, *meaning;
} phases[] = {
#define PHASE_WORDS(name, text, meaning) [ATTN_PHASE_##name] = {text, meaning},
    ATTN_PHASE_LIST(PHASE_WORDS)
#undef PHASE_WORDS
};

const char *attn_phase_name(attn_phase phase)
{
    return (unsigned)phase < ATTN_PHASE_COUNT ? phases[phase].name : "unknown";
}

const char *attn_phase_meaning(attn_phase phase)
{
    return (unsigned)phase < ATTN_PHASE_COUNT ? phases[phase].meaning : "unknown";
}

double attn_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

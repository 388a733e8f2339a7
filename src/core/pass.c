#include <attn/pass.h>

#include <string.h>

static const struct {
    const char *name, *meaning;
} passes[] = {
#define PASS_WORDS(name, text, meaning) [ATTN_PASS_##name] = {text, meaning},
    ATTN_PASS_LIST(PASS_WORDS)
#undef PASS_WORDS
};

const char *attn_pass_name(attn_pass pass)
{
    return (unsigned)pass < ATTN_PASS_COUNT ? passes[pass].name : "unknown";
}

const char *attn_pass_meaning(attn_pass pass)
{
    return (unsigned)pass < ATTN_PASS_COUNT ? passes[pass].meaning : "unknown";
}

bool attn_pass_find(const char *name, attn_pass *pass)
{
    for (int p = 0; p < ATTN_PASS_COUNT; p++)
        if (strcmp(passes[p].name, name) == 0) {
            *pass = (attn_pass)p;
            return true;
        }
    return false;
}

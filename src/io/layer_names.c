/* The names that frameworks give to the weights of attention, each for what it holds. Case is not looked at. A name may
 * have a prefix that ends in a dot ("model.layers.3.self_attn."), so what counts is its end. docs/layers.md lists them,
 * and tools/export_layer.py has them too; tests/tools/test_export.py compares the three. */
#include "io/layer_format.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* X(ROLE, name) */
#define ALIAS_LIST(X)                                                                                                  \
    X(QUERY, "query")   /* BERT, ViT, Whisper: self.query, attention.self.query */                                     \
    X(QUERY, "W_query") /* Build a Large Language Model (From Scratch), chapter 3 */                                   \
    X(QUERY, "query_linear")                                                                                           \
    X(QUERY, "query_proj") /* DeBERTa */                                                                               \
    X(QUERY, "query_layer")                                                                                            \
    X(QUERY, "q_proj") /* Llama, OPT, GPT-J, CLIP; torch.nn.MultiheadAttention with kdim or vdim */                    \
    X(QUERY, "q_lin")  /* DistilBERT */                                                                                \
    X(QUERY, "q_linear")                                                                                               \
    X(QUERY, "linear_q")  /* ESPnet */                                                                                 \
    X(QUERY, "linears.0") /* The Annotated Transformer */                                                              \
    X(QUERY, "to_q")      /* diffusers */                                                                              \
    X(QUERY, "attn_q")    /* GGUF */                                                                                   \
    X(QUERY, "wq")        /* Llama as published by Meta */                                                             \
    X(QUERY, "W_q")                                                                                                    \
    X(QUERY, "q") /* T5 */                                                                                             \
    X(KEY, "key")                                                                                                      \
    X(KEY, "W_key")                                                                                                    \
    X(KEY, "key_linear")                                                                                               \
    X(KEY, "key_proj")                                                                                                 \
    X(KEY, "key_layer")                                                                                                \
    X(KEY, "k_proj")                                                                                                   \
    X(KEY, "k_lin")                                                                                                    \
    X(KEY, "k_linear")                                                                                                 \
    X(KEY, "linear_k")                                                                                                 \
    X(KEY, "linears.1")                                                                                                \
    X(KEY, "to_k")                                                                                                     \
    X(KEY, "attn_k")                                                                                                   \
    X(KEY, "wk")                                                                                                       \
    X(KEY, "W_k")                                                                                                      \
    X(KEY, "k")                                                                                                        \
    X(VALUE, "value")                                                                                                  \
    X(VALUE, "W_value")                                                                                                \
    X(VALUE, "value_linear")                                                                                           \
    X(VALUE, "value_proj")                                                                                             \
    X(VALUE, "value_layer")                                                                                            \
    X(VALUE, "v_proj")                                                                                                 \
    X(VALUE, "v_lin")                                                                                                  \
    X(VALUE, "v_linear")                                                                                               \
    X(VALUE, "linear_v")                                                                                               \
    X(VALUE, "linears.2")                                                                                              \
    X(VALUE, "to_v")                                                                                                   \
    X(VALUE, "attn_v")                                                                                                 \
    X(VALUE, "wv")                                                                                                     \
    X(VALUE, "W_v")                                                                                                    \
    X(VALUE, "v")                                                                                                      \
    X(OUT, "out_proj") /* torch.nn.MultiheadAttention, OPT, CLIP */                                                    \
    X(OUT, "o_proj")   /* Llama */                                                                                     \
    X(OUT, "c_proj")   /* GPT-2 */                                                                                     \
    X(OUT, "dense")    /* BERT: output.dense; GPT-NeoX, Falcon, BLOOM */                                               \
    X(OUT, "out_lin")  /* DistilBERT */                                                                                \
    X(OUT, "out_linear")                                                                                               \
    X(OUT, "output_linear")                                                                                            \
    X(OUT, "output_proj")                                                                                              \
    X(OUT, "linear_out")                                                                                               \
    X(OUT, "linears.3")                                                                                                \
    X(OUT, "to_out.0") /* diffusers */                                                                                 \
    X(OUT, "to_out")                                                                                                   \
    X(OUT, "attn_output")                                                                                              \
    X(OUT, "proj") /* timm */                                                                                          \
    X(OUT, "wo")                                                                                                       \
    X(OUT, "W_o")                                                                                                      \
    X(OUT, "W_out")                                                                                                    \
    X(OUT, "out")     /* Whisper */                                                                                    \
    X(OUT, "o")       /* T5 */                                                                                         \
    X(QKV, "in_proj") /* torch.nn.MultiheadAttention: in_proj_weight, in_proj_bias */                                  \
    X(QKV, "query_key_value")                                                                                          \
    X(QKV, "qkv")      /* timm */                                                                                      \
    X(QKV, "qkv_proj") /* Phi-3 */                                                                                     \
    X(QKV, "qkv_linear")                                                                                               \
    X(QKV, "c_attn") /* GPT-2, transposed */                                                                           \
    X(QKV, "Wqkv")   /* MPT */                                                                                         \
    X(QKV, "W_qkv")                                                                                                    \
    X(QKV, "W_pack") /* Baichuan */                                                                                    \
    X(QKV, "to_qkv")                                                                                                   \
    X(QKV, "attn_qkv")                                                                                                 \
    X(KV, "key_value")                                                                                                 \
    X(KV, "kv")                                                                                                        \
    X(KV, "kv_proj")                                                                                                   \
    X(KV, "to_kv")                                                                                                     \
    X(KV, "Wkv")

static const struct {
    attn_layer_role role;
    const char *name;
} aliases[] = {
#define ALIAS_ROW(role, name) {ATTN_LAYER_ROLE_##role, name},
    ALIAS_LIST(ALIAS_ROW)
#undef ALIAS_ROW
};

/* Cuts ".weight", "_weight", ".bias" or "_bias" off the end. */
static bool cut_kind(char *name, bool *bias)
{
    static const char *const kinds[2] = {"weight", "bias"};

    for (int k = 0; k < 2; k++) {
        const size_t length = strlen(name), tail = strlen(kinds[k]) + 1;

        if (length <= tail || strcasecmp(name + length - tail + 1, kinds[k]) != 0 ||
            strchr("._", name[length - tail]) == NULL)
            continue;
        name[length - tail] = '\0';
        *bias = k == 1;
        return true;
    }
    return false;
}

bool attn_layer_name_find(const char *name, attn_layer_role *role, bool *bias)
{
    char stem[ATTN_LAYER_PATH_MAX];

    if ((size_t)snprintf(stem, sizeof stem, "%s", name) >= sizeof stem)
        return false;
    for (char *c = stem; *c != '\0'; c++)
        if (*c == '/')
            *c = '.';
    if (!cut_kind(stem, bias))
        return false;
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        const size_t length = strlen(stem), tail = strlen(aliases[i].name);

        if (length < tail || strcasecmp(stem + length - tail, aliases[i].name) != 0 ||
            (length > tail && stem[length - tail - 1] != '.'))
            continue;
        *role = aliases[i].role;
        return true;
    }
    return false;
}

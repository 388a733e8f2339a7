/* The contract between the table of linear projections (linear.c) and its rows (a file each).
 *
 * create allocates all that the passes need; passes do not allocate and cannot fail. They run on setup->threads OpenMP
 * threads, whatever the default of the caller is, and give the same bits each time. */
#ifndef LAYER_LINEAR_BACKEND_H
#define LAYER_LINEAR_BACKEND_H

#include "layer/linear.h"

/* What a pass is called with: the setup of attn_linear_create, and what the row's create made of it. */
struct attn_linear {
    const attn_linear_backend *backend;
    attn_linear_setup setup;
    void *state;
};

struct attn_linear_backend {
    const char *name;
    bool (*computes)(attn_dtype dtype); /* on this CPU */
    /* Sets linear->state, NULL on failure; destroy takes NULL. */
    attn_status (*create)(attn_linear *linear, attn_error *error);
    void (*destroy)(void *state);
    /* As the functions of linear.h. */
    void (*forward)(attn_linear *linear, const void *x, const void *w, const void *b, void *y);
    void (*backward_data)(attn_linear *linear, const void *dy, const void *w, attn_dtype dx_dtype, bool add, void *dx);
    void (*backward_weights)(attn_linear *linear, const void *dy, const void *x, void *dw, void *db);
};

#endif

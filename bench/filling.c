#include "filling.h"

void put_integer(filling *to, const char *name, int64_t value)
{
    if (to->status == ATTN_OK)
        to->status = attn_attributes_set_integer(to->list, name, value);
}

void put_real(filling *to, const char *name, double value)
{
    if (to->status == ATTN_OK)
        to->status = attn_attributes_set_real(to->list, name, value);
}

void put_text(filling *to, const char *name, const char *value)
{
    if (to->status == ATTN_OK)
        to->status = attn_attributes_set_text(to->list, name, value);
}

/* What the writers of JSON share. */
#ifndef ATTN_STUDY_JSON_H
#define ATTN_STUDY_JSON_H

#include <attn/status.h>

#include <cjson/cJSON.h>
#include <stdio.h>

/* Writes an object on one line, and deletes it. ATTN_MEMORY. */
attn_status attn_json_print(cJSON *object, FILE *stream, attn_error *error);

#endif

/* Values in messages: however long one is, what would be accepted must still stand behind it. */
#ifndef BENCH_SHOWN_H
#define BENCH_SHOWN_H

typedef struct shown {
    char text[208];
} shown;

/* A value as messages show it, for use within one expression: shown_value(x).text. The beginning and "..." when it is
 * longer than 60 bytes, "\"\"" when it is empty. */
shown shown_value(const char *value);

/* The same for a path, of which the end says most: "..." and the end when it is longer than 200 bytes. */
shown shown_path(const char *path);

/* What stands behind the last slash of a path. */
const char *shown_base(const char *path);

#endif

/* Messages for a person: one line on stderr that starts "attnbench: ". */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include "bench.h"

/* The one error line, from one rank. Newlines in the text become blanks. */
void message_error(const char *text);

/* A line that is neither an error nor a warning, from rank 0. */
void message_note(const bench *launch, const char *format, ...) ATTN_PRINTF(2, 3);

/* A warning, from rank 0; only after arguments, inputs and output were checked. */
void message_warning(const bench *launch, const char *format, ...) ATTN_PRINTF(2, 3);

/* Whether what goes to stderr is read by a person. Under mpirun stderr is a pipe, and mpirun's own counts. */
bool message_on_terminal(void);

#endif

/* Runs gnuplot as a child process. */
#ifndef ATTN_STUDY_GNUPLOT_H
#define ATTN_STUDY_GNUPLOT_H

#include <attn/status.h>

#include <stddef.h>

/* Feeds a script to gnuplot, which draws to its standard output, and publishes the picture whole under path. No name
 * of a file is part of the script or of a command line.
 *   script  in, [length] characters
 * ATTN_UNSUPPORTED when gnuplot is not installed or refuses the script, ATTN_FILE when the picture cannot be written.
 */
attn_status attn_gnuplot_draw(const char *script, size_t length, const char *path, attn_error *error);

#endif

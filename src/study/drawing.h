/* What the pictures share: colours, text and axes in gnuplot's language. All text stands in single quotes, where
 * gnuplot substitutes nothing. */
#ifndef ATTN_STUDY_DRAWING_H
#define ATTN_STUDY_DRAWING_H

#include <stddef.h>
#include <stdio.h>

enum { ATTN_DRAW_COLOURS = 7, ATTN_DRAW_MARKERS = 6 };

/* Okabe and Ito's palette without its yellow, which is too light for lines on white. */
extern const char *const attn_draw_colours[ATTN_DRAW_COLOURS];

/* gnuplot's point types, filled; the hollow one of each stands before it. */
extern const int attn_draw_markers[ATTN_DRAW_MARKERS];

/* Writes text in single quotes; its first `length` characters. */
void attn_draw_quoted(const char *text, size_t length, FILE *script);

/* Writes the values on a logarithmic axis ("x" or "y") that a person would choose: 1, 2, 5; more of them where the axis
 * is short. */
void attn_draw_log_ticks(const char *axis, double lo, double hi, FILE *script);

/* Writes a title, broken at its commas, as labels at the top of the picture; returns the lines. */
int attn_draw_title(const char *title, FILE *script);

/* Gives the terminal for a picture, by the end of its name, .png, .svg or .pdf: they measure fonts and markers
 * differently. NULL for another end. */
const char *attn_draw_terminal(const char *path);

#endif

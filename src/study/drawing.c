#include "study/drawing.h"

#include <math.h>
#include <string.h>

enum { TITLE_WIDTH = 104 };

const char *const attn_draw_colours[ATTN_DRAW_COLOURS] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                          "#E69F00", "#56B4E9", "#000000"};
const int attn_draw_markers[ATTN_DRAW_MARKERS] = {7, 5, 9, 13, 11, 15};

void attn_draw_quoted(const char *text, size_t length, FILE *script)
{
    fputc('\'', script);
    for (size_t i = 0; i < length && text[i] != '\0'; i++) {
        if (text[i] == '\'')
            fputc('\'', script);
        fputc((unsigned char)text[i] < ' ' ? ' ' : text[i], script);
    }
    fputc('\'', script);
}

void attn_draw_log_ticks(const char *axis, double lo, double hi, FILE *script)
{
    static const struct {
        size_t count;
        double steps[8];
    } choices[] = {{8, {1, 1.5, 2, 3, 4, 5, 6, 8}}, {3, {1, 2, 5}}, {1, {1}}};
    const double decades = log10(hi / lo);
    const int choice = decades < 1 ? 0 : decades < 3 ? 1 : 2;
    const char *separator = "";

    fprintf(script, "set %stics (", axis);
    for (int exponent = (int)floor(log10(lo)); exponent <= (int)ceil(log10(hi)); exponent++)
        for (size_t s = 0; s < choices[choice].count; s++) {
            const double value = choices[choice].steps[s] * pow(10, exponent);

            if (value < lo || value > hi)
                continue;
            fprintf(script, "%s'%g' %.9g", separator, value, value);
            separator = ", ";
        }
    fputs(") nomirror\n", script);
}

int attn_draw_title(const char *title, FILE *script)
{
    int lines = 0;

    while (*title != '\0') {
        size_t length = strlen(title), cut = length;

        if (length > TITLE_WIDTH) {
            for (cut = TITLE_WIDTH; cut > 0 && !(title[cut] == ' ' && title[cut - 1] == ',');)
                cut--;
            cut = cut > 0 ? cut : TITLE_WIDTH;
        }
        fprintf(script, "set label %d ", lines + 1);
        attn_draw_quoted(title, cut, script);
        fprintf(script, " at screen 0.5, screen %.3f center\n", 0.965 - 0.03 * lines);
        lines++;
        title += cut;
        title += strspn(title, " ");
    }
    return lines;
}

const char *attn_draw_terminal(const char *path)
{
    static const char *const kinds[][2] = {
        {".png", "pngcairo noenhanced size 1200,800 font 'Sans,13' background '#FFFFFF'\nset pointsize 1.5"},
        {".svg", "svg noenhanced size 1200,800 font 'Sans,17' background '#FFFFFF'\nset pointsize 0.9"},
        {".pdf", "pdfcairo noenhanced size 12in,8in font 'Sans,13' fontscale 0.72\nset pointsize 1.1"},
    };
    const size_t length = strlen(path);

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        if (length > 4 && strcmp(path + length - 4, kinds[k][0]) == 0)
            return kinds[k][1];
    return NULL;
}

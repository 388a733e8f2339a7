/* A table of text cells. Its first failure is kept, so that a caller asks once, when printing. */
#include <attn/study.h>

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct attn_table {
    size_t columns;
    char **names;     /* [columns] */
    bool *left;       /* [columns] left aligned */
    char **cells;     /* [rows complete, then the row under construction], NULL for an empty cell */
    size_t filled;    /* cells in use, those of the row under construction included */
    size_t capacity;  /* cells allocated */
    size_t row_begin; /* first cell of the row under construction */
    attn_status failure;
};

static size_t count_columns(const char *columns)
{
    size_t count = 1;

    for (const char *c = columns; *c != '\0'; c++)
        count += *c == '|';
    return count;
}

static bool split_names(attn_table *table, const char *columns)
{
    const char *begin = columns;

    for (size_t c = 0; c < table->columns; c++) {
        size_t length;

        table->left[c] = *begin == '<';
        begin += table->left[c];
        length = strcspn(begin, "|");
        table->names[c] = strndup(begin, length);
        if (table->names[c] == NULL)
            return false;
        begin += length + (begin[length] == '|');
    }
    return true;
}

attn_status attn_table_create(const char *columns, attn_table **out, attn_error *error)
{
    attn_table *table = calloc(1, sizeof *table);

    *out = NULL;
    if (table == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table");
    table->columns = count_columns(columns);
    table->names = calloc(table->columns, sizeof *table->names);
    table->left = calloc(table->columns, sizeof *table->left);
    if (table->names == NULL || table->left == NULL || !split_names(table, columns)) {
        attn_table_destroy(table);
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table of %zu columns", count_columns(columns));
    }
    *out = table;
    return ATTN_OK;
}

void attn_table_destroy(attn_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->filled; i++)
        free(table->cells[i]);
    for (size_t c = 0; table->names != NULL && c < table->columns; c++)
        free(table->names[c]);
    free(table->cells);
    free(table->names);
    free(table->left);
    free(table);
}

static attn_status reserve(attn_table *table)
{
    size_t capacity = 2 * table->capacity + 4 * table->columns;
    char **cells;

    if (table->filled < table->capacity)
        return ATTN_OK;
    if (capacity > SIZE_MAX / sizeof *cells)
        return ATTN_MEMORY;
    cells = realloc(table->cells, capacity * sizeof *cells);
    if (cells == NULL)
        return ATTN_MEMORY;
    table->cells = cells;
    table->capacity = capacity;
    return ATTN_OK;
}

/* Text that stays in its cell: control characters become spaces. */
static char *format_cell(const char *format, va_list arguments)
{
    va_list again;
    int length;
    char *text = NULL;

    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    if (length >= 0)
        text = malloc((size_t)length + 1);
    if (text != NULL) {
        vsnprintf(text, (size_t)length + 1, format, again);
        for (char *c = text; *c != '\0'; c++)
            if ((unsigned char)*c < ' ')
                *c = ' ';
    }
    va_end(again);
    return text;
}

void attn_table_cell(attn_table *table, const char *format, ...)
{
    va_list arguments;
    char *text;

    assert(table->filled - table->row_begin < table->columns);
    if (table->failure == ATTN_OK)
        table->failure = reserve(table);
    if (table->failure != ATTN_OK)
        return;
    va_start(arguments, format);
    text = format_cell(format, arguments);
    va_end(arguments);
    if (text == NULL)
        table->failure = ATTN_MEMORY;
    else
        table->cells[table->filled++] = text;
}

void attn_table_end_row(attn_table *table)
{
    while (table->failure == ATTN_OK && table->filled - table->row_begin < table->columns) {
        table->failure = reserve(table);
        if (table->failure == ATTN_OK)
            table->cells[table->filled++] = NULL;
    }
    table->row_begin = table->filled;
}

/* Characters of UTF-8 text: all bytes that do not continue one. */
static size_t width(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static const char *cell(const attn_table *table, size_t row, size_t column)
{
    const char *text = table->cells[row * table->columns + column];

    return text != NULL ? text : "";
}

/* Prints a cell behind *pending spaces; those behind the last text of a line are never printed. */
static void print_padded(const char *text, size_t want, bool left, size_t *pending, FILE *stream)
{
    const size_t padding = want - width(text);

    if (!left)
        *pending += padding;
    if (*text != '\0') {
        fprintf(stream, "%*s%s", (int)*pending, "", text);
        *pending = 0;
    }
    *pending += 2 + (left ? padding : 0);
}

static void print_text(const attn_table *table, const size_t *widths, size_t rows, FILE *stream)
{
    size_t pending = 0;

    for (size_t c = 0; c < table->columns; c++)
        print_padded(table->names[c], widths[c], table->left[c], &pending, stream);
    fputc('\n', stream);
    for (size_t c = 0; c < table->columns; c++) {
        for (size_t i = 0; i < widths[c]; i++)
            fputc('-', stream);
        fputs(c + 1 == table->columns ? "\n" : "  ", stream);
    }
    for (size_t r = 0; r < rows; r++) {
        pending = 0;
        for (size_t c = 0; c < table->columns; c++)
            print_padded(cell(table, r, c), widths[c], table->left[c], &pending, stream);
        fputc('\n', stream);
    }
}

static void print_escaped(const char *text, FILE *stream)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            fputc('\\', stream);
        fputc(*text, stream);
    }
}

static void print_markdown(const attn_table *table, size_t rows, FILE *stream)
{
    for (size_t c = 0; c < table->columns; c++) {
        fputs("| ", stream);
        print_escaped(table->names[c], stream);
        fputc(' ', stream);
    }
    fputs("|\n", stream);
    for (size_t c = 0; c < table->columns; c++)
        fputs(table->left[c] ? "|:--" : "|--:", stream);
    fputs("|\n", stream);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < table->columns; c++) {
            fputs("| ", stream);
            print_escaped(cell(table, r, c), stream);
            fputc(' ', stream);
        }
        fputs("|\n", stream);
    }
}

/* RFC 4180: a field with a comma, a quote or a line break stands in quotes, and its quotes are doubled. */
static void print_quoted(const char *text, FILE *stream)
{
    if (text[strcspn(text, ",\"\r\n")] == '\0') {
        fputs(text, stream);
        return;
    }
    fputc('"', stream);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', stream);
        fputc(*text, stream);
    }
    fputc('"', stream);
}

static void print_csv(const attn_table *table, size_t rows, FILE *stream)
{
    for (size_t c = 0; c < table->columns; c++) {
        print_quoted(table->names[c], stream);
        fputc(c + 1 == table->columns ? '\n' : ',', stream);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < table->columns; c++) {
            print_quoted(cell(table, r, c), stream);
            fputc(c + 1 == table->columns ? '\n' : ',', stream);
        }
}

attn_status attn_table_print(const attn_table *table, attn_table_format format, FILE *stream)
{
    const size_t rows = table->row_begin / table->columns;
    size_t *widths;

    if (table->failure != ATTN_OK)
        return table->failure;
    widths = calloc(table->columns, sizeof *widths);
    if (widths == NULL)
        return ATTN_MEMORY;
    for (size_t c = 0; c < table->columns; c++) {
        widths[c] = width(table->names[c]);
        for (size_t r = 0; r < rows; r++)
            if (width(cell(table, r, c)) > widths[c])
                widths[c] = width(cell(table, r, c));
    }
    switch (format) {
    case ATTN_TABLE_TEXT:
        print_text(table, widths, rows, stream);
        break;
    case ATTN_TABLE_MARKDOWN:
        print_markdown(table, rows, stream);
        break;
    case ATTN_TABLE_CSV:
        print_csv(table, rows, stream);
        break;
    }
    free(widths);
    return ferror(stream) ? ATTN_FILE : ATTN_OK;
}

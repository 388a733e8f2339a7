/* A tile of a product of matrices for one arithmetic type; included by linear_plain_level.h once for float and once for
 * double, with REAL, OWN_DTYPE (its attn_dtype), FN(name) (the name with a suffix of its own), CONVERT_FROM and
 * CONVERT_TO (rows of a dtype to REAL and back).
 *
 * The tile is computed as Goto and van de Geijn 2008 have it ("Anatomy of high-performance matrix multiplication",
 * section 4): some of the depth at a time, both operands are packed in the order in which registers take them, and each
 * register tile of sums runs over the packed depth. */
typedef REAL FN(vec) __attribute__((vector_size(VECTOR_BYTES)));
#define VEC FN(vec)
#define WIDTH ((int)(VECTOR_BYTES / sizeof(REAL)))
#define TILE_COLUMNS (VECTORS * WIDTH)

static inline VEC FN(load)(const REAL *from)
{
    VEC v;

    memcpy(&v, from, sizeof v);
    return v;
}

static inline void FN(store)(REAL *to, VEC v)
{
    memcpy(to, &v, sizeof v);
}

/* sums [TILE_ROWS,TILE_COLUMNS] += a [depth,TILE_ROWS]^T b [depth,TILE_COLUMNS]. */
static inline void FN(multiply)(int64_t depth, const REAL *a, const REAL *b, REAL *sums, int64_t stride)
{
    VEC s[TILE_ROWS][VECTORS];

    UNROLL
    for (int i = 0; i < TILE_ROWS; i++)
        UNROLL
    for (int v = 0; v < VECTORS; v++)
        s[i][v] = FN(load)(sums + i * stride + v * WIDTH);
    for (int64_t k = 0; k < depth; k++) {
        VEC column[VECTORS];

        UNROLL
        for (int v = 0; v < VECTORS; v++)
            column[v] = FN(load)(b + k * TILE_COLUMNS + v * WIDTH);
        UNROLL
        for (int i = 0; i < TILE_ROWS; i++)
            UNROLL
        for (int v = 0; v < VECTORS; v++)
            s[i][v] += a[k * TILE_ROWS + i] * column[v];
    }
    UNROLL
    for (int i = 0; i < TILE_ROWS; i++)
        UNROLL
    for (int v = 0; v < VECTORS; v++)
        FN(store)(sums + i * stride + v * WIDTH, s[i][v]);
}

/* Packs a strip of `width` lines (rows of a, columns of b) into to [depth,width], zeros where there is no line.
 *   from    in, the strip's first element; across: from line to line; along: from one of the depth to the next
 *   lines   scratch, [width,PLAIN_DEPTH] */
static inline void FN(pack_strip)(attn_dtype dtype, const void *from, int64_t across, int64_t along, int64_t count,
                                  int64_t depth, int width, REAL *lines, REAL *to)
{
    const size_t size = attn_dtype_size(dtype);
    const char *const bytes = from;

    if (along != 1) { /* lines stand beside each other */
        for (int64_t k = 0; k < depth; k++) {
            CONVERT_FROM(dtype, to + k * width, bytes + (size_t)(k * along) * size, count);
            for (int64_t n = count; n < width; n++)
                to[k * width + n] = 0;
        }
        return;
    }
    if (count < width || dtype != OWN_DTYPE) {
        memset(lines, 0, (size_t)width * PLAIN_DEPTH * sizeof *lines);
        for (int64_t n = 0; n < count; n++)
            CONVERT_FROM(dtype, lines + n * PLAIN_DEPTH, bytes + (size_t)(n * across) * size, depth);
        from = lines;
        across = PLAIN_DEPTH;
    }
    for (int64_t k = 0; k < depth; k++)
        for (int n = 0; n < width; n++)
            to[k * width + n] = ((const REAL *)from)[n * across + k];
}

/* Packs `count` lines into strips. */
static inline void FN(pack)(const plain_matrix *m, int64_t first, int64_t across, int64_t count, int64_t begin,
                            int64_t along, int64_t depth, int width, REAL *lines, REAL *to)
{
    const size_t size = attn_dtype_size(m->dtype);

    for (int64_t n = 0; n < count; n += width)
        FN(pack_strip)
    (m->dtype, (const char *)m->data + (size_t)((first + n) * across + begin * along) * size, across, along,
     count - n < width ? count - n : width, depth, width, lines, to + n * depth);
}

/* Writes a finished tile: its bias, and what stood there. */
static void FN(finish)(const plain_product *p, int64_t row, int64_t column, int64_t rows, int64_t columns, REAL *sums,
                       int64_t stride, REAL *bias)
{
    const size_t size = attn_dtype_size(p->c_dtype);

    if (p->bias != NULL)
        CONVERT_FROM(p->a.dtype, bias, (const char *)p->bias + (size_t)column * attn_dtype_size(p->a.dtype), columns);
    for (int64_t i = 0; i < rows; i++) {
        void *const c = (char *)p->c + (size_t)((row + i) * p->c_stride + column) * size;
        REAL *const s = sums + i * stride;

        if (p->bias != NULL)
            for (int64_t j = 0; j < columns; j++)
                s[j] += bias[j];
        if (p->add)
            for (int64_t j = 0; j < columns; j++)
                s[j] += ((const REAL *)c)[j];
        CONVERT_TO(p->c_dtype, c, s, columns);
    }
}

static void FN(task)(const plain_product *p, int64_t tile, void *scratch)
{
    const int64_t row = tile / p->tiles_across * p->tile_rows, column = tile % p->tiles_across * p->tile_columns;
    const int64_t rows = p->rows - row < p->tile_rows ? p->rows - row : p->tile_rows;
    const int64_t columns = p->columns - column < p->tile_columns ? p->columns - column : p->tile_columns;
    const int64_t padded_rows = (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    const int64_t stride = (columns + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
    REAL *const sums = scratch;
    REAL *const a = sums + padded_rows * stride;
    REAL *const b = a + padded_rows * PLAIN_DEPTH;
    REAL *const lines = b + stride * PLAIN_DEPTH;

    memset(sums, 0, (size_t)(padded_rows * stride) * sizeof *sums);
    for (int64_t k = 0; k < p->depth; k += PLAIN_DEPTH) {
        const int64_t depth = p->depth - k < PLAIN_DEPTH ? p->depth - k : PLAIN_DEPTH;

        FN(pack)(&p->a, row, p->a.row_stride, rows, k, p->a.column_stride, depth, TILE_ROWS, lines, a);
        FN(pack)(&p->b, column, p->b.column_stride, columns, k, p->b.row_stride, depth, TILE_COLUMNS, lines, b);
        for (int64_t j = 0; j < stride; j += TILE_COLUMNS)
            for (int64_t i = 0; i < padded_rows; i += TILE_ROWS)
                FN(multiply)(depth, a + i * depth, b + j * depth, sums + i * stride + j, stride);
    }
    FN(finish)(p, row, column, rows, columns, sums, stride, lines);
}

#undef VEC
#undef WIDTH
#undef TILE_COLUMNS

/* Moving a rank's block between memory and file.
 *
 * A block is a dense array [B,heads,rows,width] in memory. It is cut into boxes that follow each other in memory, so
 * that each transfer is bounded; in the file a box is a few regular hyperslabs, because rows at equal distances (a
 * striped layout) make one. Each rank transfers its boxes by itself and moves nobody else's bytes; the ranks meet
 * before the first one and after the last one, to agree. */
#include "io/h5.h"
#include "io/input_file.h"

#include "core/checked.h"

#include <attn/comm.h>

#include <stdlib.h>

/* How a dense array of four extents is cut: into single indices before `axis`, pieces along it, and wholes after it. */
typedef struct cut {
    int64_t extents[4];
    int axis;
    int64_t piece;  /* indices along axis in a box, the last one may have fewer */
    int64_t pieces; /* along axis */
    int64_t boxes;  /* 0 when the array is empty */
} cut;

typedef struct box {
    int64_t begin[4], count[4];
    int64_t offset, elements; /* in the dense array */
} box;

/* The fewest boxes of at most `limit` elements. */
static cut cut_make(const int64_t extents[4], int64_t limit)
{
    cut c = {.axis = 3, .boxes = 0};
    int64_t after = 1;

    for (int d = 0; d < 4; d++) {
        c.extents[d] = extents[d];
        if (extents[d] == 0)
            return c;
    }
    for (; c.axis > 0 && extents[c.axis] <= limit / after; c.axis--)
        after *= extents[c.axis];
    c.piece = limit / after < extents[c.axis] ? limit / after : extents[c.axis];
    c.pieces = (extents[c.axis] - 1) / c.piece + 1;
    c.boxes = c.pieces;
    for (int d = 0; d < c.axis; d++)
        c.boxes *= extents[d];
    return c;
}

static box box_at(const cut *c, int64_t index)
{
    box b = {.offset = 0, .elements = 1};
    int64_t outer = index / c->pieces;

    for (int d = 3; d >= 0; d--) {
        b.begin[d] = 0;
        b.count[d] = d > c->axis ? c->extents[d] : 1;
        if (d == c->axis) {
            b.begin[d] = index % c->pieces * c->piece;
            b.count[d] = c->piece < c->extents[d] - b.begin[d] ? c->piece : c->extents[d] - b.begin[d];
        } else if (d < c->axis) {
            b.begin[d] = outer % c->extents[d];
            outer /= c->extents[d];
        }
    }
    for (int d = 0; d < 4; d++) {
        b.offset = b.offset * c->extents[d] + b.begin[d];
        b.elements *= b.count[d];
    }
    return b;
}

/* Local rows [begin, begin + count) as far as they are in one segment: global begin and length. */
static attn_segment clip(const attn_segments *rows, int64_t index, int64_t begin, int64_t count)
{
    const attn_segment *const s = &rows->list[index];
    const int64_t first = s->offset > begin ? s->offset : begin;
    const int64_t last = s->offset + s->length < begin + count ? s->offset + s->length : begin + count;

    return (attn_segment){.begin = s->begin + (first - s->offset), .length = last - first, .offset = first};
}

/* Selects a box in the file; equal segments at equal distances become one hyperslab. */
static bool select_box(hid_t space, const attn_block *block, const box *b)
{
    const attn_segments *const rows = block->rows;
    const int64_t end = b->begin[2] + b->count[2];
    hsize_t start[4] = {(hsize_t)b->begin[0], (hsize_t)(block->head_begin + b->begin[1]), 0, (hsize_t)b->begin[3]};
    hsize_t size[4] = {(hsize_t)b->count[0], (hsize_t)b->count[1], 0, (hsize_t)b->count[3]};
    H5S_seloper_t operation = H5S_SELECT_SET;

    for (int64_t i = attn_segments_find(rows, b->begin[2]); i < rows->count && rows->list[i].offset < end;) {
        const attn_segment first = clip(rows, i, b->begin[2], b->count[2]);
        hsize_t stride[4] = {1, 1, 1, 1}, count[4] = {1, 1, 1, 1};
        attn_segment last = first;

        for (i++; i < rows->count && rows->list[i].offset < end; i++) {
            const attn_segment next = clip(rows, i, b->begin[2], b->count[2]);

            if (next.length != first.length || (count[2] > 1 && (hsize_t)(next.begin - last.begin) != stride[2]))
                break;
            stride[2] = (hsize_t)(next.begin - last.begin);
            count[2]++;
            last = next;
        }
        start[2] = (hsize_t)first.begin;
        size[2] = (hsize_t)first.length;
        if (H5Sselect_hyperslab(space, operation, start, stride, count, size) < 0)
            return false;
        operation = H5S_SELECT_OR;
    }
    return true;
}

/* One array on its way; exactly one of to and from is given, both NULL when this rank has nothing. */
typedef struct transfer {
    attn_input *input;
    attn_input_array array;
    attn_block block;
    attn_dtype dtype; /* in the caller's memory */
    bool writing;
    char *to;
    const char *from;
    cut cut;
    void *bounce;        /* room for one box of stored elements when types differ, otherwise NULL */
    hid_t space, type;   /* of the dataset; type in this machine's byte order */
    hid_t property_list; /* independent transfer */
} transfer;

static attn_status check_block(const transfer *t, attn_error *error)
{
    attn_problem problem = t->input->header.problem;
    const attn_segments *const rows = t->block.rows;
    const int64_t heads = *attn_input_extent(&problem.shape, t->array, 1);
    const int64_t seq = *attn_input_extent(&problem.shape, t->array, 2);
    const char *const name = attn_input_array_path(t->array);

    if (!t->input->header.present[t->array])
        return attn_error_set(error, ATTN_ARGUMENT, "%s: dataset %s is missing", t->input->path, name);
    if (t->cut.boxes == 0)
        return ATTN_OK;
    if (t->block.head_begin < 0 || t->block.head_count > heads - t->block.head_begin)
        return attn_error_set(error, ATTN_ARGUMENT, "%s: dataset %s: heads %lld to %lld; there are %lld",
                              t->input->path, name, (long long)t->block.head_begin,
                              (long long)(t->block.head_begin + t->block.head_count - 1), (long long)heads);
    if (rows->list[0].begin < 0 || rows->list[rows->count - 1].length > seq - rows->list[rows->count - 1].begin)
        return attn_error_set(error, ATTN_ARGUMENT, "%s: dataset %s: rows from %lld to %lld; there are %lld",
                              t->input->path, name, (long long)rows->list[0].begin,
                              (long long)(rows->list[rows->count - 1].begin + rows->list[rows->count - 1].length - 1),
                              (long long)seq);
    return ATTN_OK;
}

/* Cuts the block and gets what the transfers need. */
static attn_status begin(transfer *t, attn_error *error)
{
    const attn_input *const input = t->input;
    const attn_dtype stored = input->header.stored[t->array];
    const bool direct = stored == t->dtype;
    const size_t element = attn_dtype_size(stored), bytes = direct ? input->direct_bytes : input->bounce_bytes;
    int64_t extents[4] = {0, 0, 0, 1};
    attn_status status;

    attn_input_extents(&input->header.problem.shape, t->array, extents);
    extents[1] = t->block.head_count;
    extents[2] = t->block.rows != NULL ? t->block.rows->rows : 0;
    t->cut = cut_make(extents, bytes > element ? (int64_t)(bytes / element) : 1);
    status = check_block(t, error);
    if (status != ATTN_OK)
        return status;
    if (!direct && t->cut.boxes > 0) {
        const box largest = box_at(&t->cut, 0);

        t->bounce = attn_calloc_array(largest.elements, element);
        if (t->bounce == NULL)
            return attn_error_set(error, ATTN_MEMORY, "%s: no memory to convert %lld elements of %s", input->path,
                                  (long long)largest.elements, attn_input_array_path(t->array));
    }
    t->type = attn_h5_type(stored);
    t->space = H5Dget_space(input->datasets[t->array]);
    t->property_list = H5Pcreate(H5P_DATASET_XFER);
    if (t->type < 0 || t->space < 0 || H5Pset_dxpl_mpio(t->property_list, H5FD_MPIO_INDEPENDENT) < 0)
        return attn_h5_error(error, ATTN_FILE, "%s: dataset %s cannot be accessed", input->path,
                             attn_input_array_path(t->array));
    return ATTN_OK;
}

static void end(transfer *t)
{
    attn_h5_close(t->property_list);
    attn_h5_close(t->space);
    attn_h5_close(t->type);
    free(t->bounce);
}

/* Moves one box. */
static attn_status move_box(const transfer *t, int64_t index, attn_error *error)
{
    const hid_t dataset = t->input->datasets[t->array];
    const attn_dtype stored = t->input->header.stored[t->array];
    const box b = box_at(&t->cut, index);
    const hsize_t elements = (hsize_t)b.elements;
    const size_t offset = (size_t)b.offset * attn_dtype_size(t->dtype), count = (size_t)b.elements;
    const hid_t memory = H5Screate_simple(1, &elements, NULL);
    bool moved = memory >= 0 && select_box(t->space, &t->block, &b);
    attn_status status = ATTN_OK;

    if (t->writing && t->bounce != NULL)
        attn_convert(stored, t->bounce, t->dtype, t->from + offset, count);
    if (moved && t->writing)
        moved = H5Dwrite(dataset, t->type, memory, t->space, t->property_list,
                         t->bounce != NULL ? t->bounce : t->from + offset) >= 0;
    else if (moved)
        moved = H5Dread(dataset, t->type, memory, t->space, t->property_list,
                        t->bounce != NULL ? t->bounce : t->to + offset) >= 0;
    if (!moved)
        status = attn_h5_error(error, ATTN_FILE, "%s: dataset %s cannot be %s", t->input->path,
                               attn_input_array_path(t->array), t->writing ? "written" : "read");
    attn_h5_close(memory);
    if (moved && !t->writing && t->bounce != NULL)
        attn_convert(t->dtype, t->to + offset, stored, t->bounce, count);
    return status;
}

/* Collective. */
static attn_status move(transfer *t, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    const MPI_Comm comm = t->input->comm;
    attn_status status;

    t->space = t->type = t->property_list = H5I_INVALID_HID;
    status = attn_comm_agree(comm, begin(t, error), error);
    if (status == ATTN_OK) {
        for (int64_t i = 0; i < t->cut.boxes && status == ATTN_OK; i++)
            status = move_box(t, i, error);
        status = attn_comm_agree(comm, status, error);
    }
    t->input->incomplete = t->input->incomplete || (t->writing && status != ATTN_OK);
    end(t);
    attn_h5_quiet_end(saved);
    return status;
}

attn_status attn_input_read(attn_input *input, attn_input_array array, const attn_block *block, attn_dtype dtype,
                            void *buffer, attn_error *error)
{
    transfer t = {.input = input, .array = array, .block = *block, .dtype = dtype, .to = buffer};

    return move(&t, error);
}

attn_status attn_input_write(attn_input *input, attn_input_array array, const attn_block *block, attn_dtype dtype,
                             const void *buffer, attn_error *error)
{
    transfer t = {.input = input, .array = array, .block = *block, .dtype = dtype, .writing = true, .from = buffer};

    return move(&t, error);
}

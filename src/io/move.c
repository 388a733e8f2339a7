/* A block is a dense array [.,.,rows,.] in memory. It is cut into boxes that follow each other in memory, so that each
 * transfer is bounded; in the file a box is a few regular hyperslabs, because rows at equal distances (a striped
 * layout) make one. Each rank transfers its boxes by itself and moves nobody else's bytes; the ranks meet before the
 * first one and after the last one, to agree. */
#include "io/move.h"

#include "io/h5.h"

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
static bool select_box(hid_t space, const attn_move *m, const box *b)
{
    const attn_segments *const rows = m->rows;
    const int64_t end = b->begin[2] + b->count[2];
    hsize_t start[4], size[4];
    H5S_seloper_t operation = H5S_SELECT_SET;

    for (int d = 0; d < 4; d++) {
        start[d] = (hsize_t)(m->begin[d] + b->begin[d]);
        size[d] = (hsize_t)b->count[d];
    }
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
        start[2] = (hsize_t)(m->begin[2] + first.begin);
        size[2] = (hsize_t)first.length;
        if (H5Sselect_hyperslab(space, operation, start + m->first, stride + m->first, count + m->first,
                                size + m->first) < 0)
            return false;
        operation = H5S_SELECT_OR;
    }
    return true;
}

/* What a move needs besides. */
typedef struct transfer {
    const attn_move *move;
    cut cut;
    void *bounce;        /* room for one box of stored elements when types differ, otherwise NULL */
    hid_t space, type;   /* of the dataset; type in this machine's byte order */
    hid_t property_list; /* independent transfer */
} transfer;

static attn_status check_block(const attn_move *m, attn_error *error)
{
    static const char *const words[4] = {"batches", "heads", "rows", "columns"};
    const char *const path = m->file->path;
    const attn_segment *const last = &m->rows->list[m->rows->count - 1];
    const int64_t begin = m->begin[2] + m->rows->list[0].begin, end = m->begin[2] + last->begin; /* of the last */

    for (int d = 0; d < 4; d++)
        if (d != 2 && (m->begin[d] < 0 || m->count[d] > m->extents[d] - m->begin[d]))
            return attn_error_set(error, ATTN_ARGUMENT, "%s: dataset %s: %s %lld to %lld; there are %lld", path,
                                  m->name, words[d], (long long)m->begin[d], (long long)(m->begin[d] + m->count[d] - 1),
                                  (long long)m->extents[d]);
    if (begin < 0 || last->length > m->extents[2] - end)
        return attn_error_set(error, ATTN_ARGUMENT, "%s: dataset %s: rows from %lld to %lld; there are %lld", path,
                              m->name, (long long)begin, (long long)(end + last->length - 1), (long long)m->extents[2]);
    return ATTN_OK;
}

/* Cuts the block and gets what the transfers need. */
static attn_status begin(transfer *t, attn_error *error)
{
    const attn_move *const m = t->move;
    const bool direct = m->stored == m->dtype;
    const size_t element = attn_dtype_size(m->stored), bytes = direct ? m->file->direct_bytes : m->file->bounce_bytes;
    const int64_t extents[4] = {m->count[0], m->count[1], m->rows != NULL ? m->rows->rows : 0, m->count[3]};
    attn_status status;

    t->cut = cut_make(extents, bytes > element ? (int64_t)(bytes / element) : 1);
    status = t->cut.boxes > 0 ? check_block(m, error) : ATTN_OK;
    if (status != ATTN_OK)
        return status;
    if (!direct && t->cut.boxes > 0) {
        const box largest = box_at(&t->cut, 0);

        t->bounce = attn_calloc_array(largest.elements, element);
        if (t->bounce == NULL)
            return attn_error_set(error, ATTN_MEMORY, "%s: no memory to convert %lld elements of %s", m->file->path,
                                  (long long)largest.elements, m->name);
    }
    t->type = attn_h5_type(m->stored);
    t->space = H5Dget_space(m->file->datasets[m->dataset]);
    t->property_list = H5Pcreate(H5P_DATASET_XFER);
    if (t->type < 0 || t->space < 0 || H5Pset_dxpl_mpio(t->property_list, H5FD_MPIO_INDEPENDENT) < 0)
        return attn_h5_error(error, ATTN_FILE, "%s: dataset %s cannot be accessed", m->file->path, m->name);
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
    const attn_move *const m = t->move;
    const hid_t dataset = m->file->datasets[m->dataset];
    const box b = box_at(&t->cut, index);
    const hsize_t elements = (hsize_t)b.elements;
    const size_t offset = (size_t)b.offset * attn_dtype_size(m->dtype), count = (size_t)b.elements;
    char *const to = m->writing ? NULL : (char *)m->to + offset;
    const char *const from = m->writing ? (const char *)m->from + offset : NULL;
    const hid_t memory = H5Screate_simple(1, &elements, NULL);
    bool moved = memory >= 0 && select_box(t->space, m, &b);
    attn_status status = ATTN_OK;

    if (m->writing && t->bounce != NULL)
        attn_convert(m->stored, t->bounce, m->dtype, from, count);
    if (moved && m->writing)
        moved =
            H5Dwrite(dataset, t->type, memory, t->space, t->property_list, t->bounce != NULL ? t->bounce : from) >= 0;
    else if (moved)
        moved = H5Dread(dataset, t->type, memory, t->space, t->property_list, t->bounce != NULL ? t->bounce : to) >= 0;
    if (!moved)
        status = attn_h5_error(error, ATTN_FILE, "%s: dataset %s cannot be %s", m->file->path, m->name,
                               m->writing ? "written" : "read");
    attn_h5_close(memory);
    if (moved && !m->writing && t->bounce != NULL)
        attn_convert(m->dtype, to, m->stored, t->bounce, count);
    return status;
}

attn_status attn_move_array(const attn_move *move, attn_status local, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    const MPI_Comm comm = move->file->comm;
    transfer t = {.move = move, .space = H5I_INVALID_HID, .type = H5I_INVALID_HID, .property_list = H5I_INVALID_HID};
    attn_status status = attn_comm_agree(comm, local == ATTN_OK ? begin(&t, error) : local, error);

    if (status == ATTN_OK) {
        for (int64_t i = 0; i < t.cut.boxes && status == ATTN_OK; i++)
            status = move_box(&t, i, error);
        status = attn_comm_agree(comm, status, error);
    }
    move->file->incomplete = move->file->incomplete || (move->writing && status != ATTN_OK);
    end(&t);
    attn_h5_quiet_end(saved);
    return status;
}

/*
 * capture.h - the memory of a system call on its way into a record: what the files that capture share.
 *
 *   rows.c     what the table's rows say of an argument: which row holds, how many bytes
 *   items.c    ranges of the program's memory that are still to be read; reading them, sending large ones ahead
 *   stash.c    bytes that were read at entry, kept with the task until its call is recorded
 *   inputs.c   at entry: what the program hands over goes to the stash
 *   outputs.c  at completion: what the kernel wrote becomes items
 *   capture.c  the record: stash and items together in one event
 *
 * Who owns what: the stash is the task's, because other tasks enter and complete calls while one waits in the kernel. The pool of
 * items is the engine thread's; only items.c sees it. It belongs to whoever emptied it last, capture_inputs() or record_call(), until
 * that function returns: nothing in it outlives the handling of one stop.
 *
 * Segments of one argument stand in the order of their indirection: a message header, then its vector, then name, data, control.
 * The data of a vector is one segment whose address is the vector's.
 */
#ifndef SENTRA_CAPTURE_H
#define SENTRA_CAPTURE_H

#include <sys/uio.h>

#include "run.h"

#define RECORD_BUDGET (160u * 1024u) /* what inline segments may take; the rest spills */
#define VECTOR_MAX 1024u
#define SEGMENTS_MAX 255u          /* of one event */
#define TRANSFER_MAX 0x7ffff000ull /* the kernel moves no more in one call (MAX_RW_COUNT) */

/* A range of the program's memory that belongs into the record: plain, or the first `size` bytes of a vector. */
struct item {
    uint64_t address;
    uint64_t size;
    uint32_t vector, vector_count; /* in pool.vectors when vector_count > 0 */
    uint8_t kind, arg;
    uint16_t flags;
    uint8_t spilled;
};

/* ---- rows.c ---- */
/* The row of an argument: the command's, the call's, or, for an ioctl without one, `scratch` filled from its number. */
const struct sentra_arg_row *row_of(const struct call *call, uint8_t arg, struct sentra_arg_row *scratch);
int unknown_ioctl(const struct call *call, struct sentra_arg_row *row); /* 1 and *row when its number describes it, else 0 */
uint64_t count_argument(const struct call *call, uint8_t arg);
int consumes(const struct sentra_arg_row *row);
/* Bytes that an argument points at. `after`: at completion, when lengths that the kernel writes count too. */
uint64_t row_size(const struct sentra_arg_row *row, const struct call *call, const struct task *task, int64_t result, int after);

/* ---- items.c ---- */
void items_reset(void);
struct item *item_add(uint64_t address, uint64_t size, uint8_t kind, uint8_t arg); /* NULL: no room, it is left out */
struct item *item_vector(uint64_t address, const struct iovec *entries, uint32_t count, uint64_t limit, uint8_t kind, uint8_t arg);
uint32_t item_read(const struct task *task, const struct item *item, uint64_t offset, unsigned char *out, uint32_t bytes);
uint64_t item_spill(struct sentra_run *run, struct task *task, const struct item *item);
void item_cap(const struct sentra_run *run, struct item *item);
uint32_t items_spill_large(struct sentra_run *run, struct task *task);
void items_append(const struct task *task, struct sentra_event *event);

/* ---- stash.c ---- */
void stash_plain(struct sentra_run *run, struct task *task, uint64_t address, uint64_t size, uint8_t arg);
void stash_item(struct sentra_run *run, struct task *task, struct item *item);
void stash_string(struct task *task, uint64_t address, uint8_t arg, uint32_t limit);
void stash_strings(struct task *task, uint64_t address, uint8_t arg);
const unsigned char *stashed(const struct task *task, uint64_t address, uint8_t arg, uint32_t *size);

/* ---- outputs.c ---- */
void capture_outputs(struct task *task, int64_t result, uint16_t flags);

#endif

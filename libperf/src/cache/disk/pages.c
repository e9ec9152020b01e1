/* pages.c - walks the pages of an LMDB 0.9 file with pread(), and checks every
 * number that LMDB would follow: pages of trees, of long values, free ones; no
 * page may be reached twice, and the counts must be those found.
 *
 * After a crash of the system a database that was not synced may be anything.
 * After one of a process alone it is in order, and this finds it so. */
#include "pages.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_HEAD = 16, /* number u64, pad u16, flags u16, lower u16, upper u16 */
    NODE_HEAD = 8,  /* lo u16, hi u16, flags u16, key size u16 */
    DB_SIZE = 48,   /* MDB_db */
    META_MAGIC = (int)0xBEEFC0DE,
    META_SIZE = 24 + 2 * DB_SIZE + 16,
    DEPTH_MAX = 16, /* far more than a terabyte needs */
    KEY_MAX = 511,
};

enum { BRANCH = 1, LEAF = 2, OVERFLOW_PAGE = 4, META = 8 };
enum { BIG_DATA = 1, SUB_DATA = 2 };
enum { INTEGER_KEY = 8 };

/** A tree as its MDB_db says it is, and as it was found. */
typedef struct tree {
    uint64_t branches, leaves, overflows, entries, root;
    uint16_t flags, depth;
    uint64_t found_branches, found_leaves, found_overflows, found_entries;
    bool is_free, is_main;
} tree;

typedef struct walk {
    int fd;
    uint32_t page_size;
    uint64_t last; /* number of the last page */
    uint8_t *seen; /* a bit for each page */
    uint8_t *page; /* DEPTH_MAX for the tree, as many for one within it */
} walk;

static uint64_t
get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static bool
read_all(int fd, void *out, size_t size, uint64_t at)
{
    uint8_t *to = out;
    while (size) {
        ssize_t n = pread(fd, to, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

/* Every page has one place where it is mentioned. */
static bool
take_pages(walk *w, uint64_t first, uint64_t count)
{
    if (first < 2 || first > w->last || count > w->last - first + 1)
        return false;
    for (uint64_t i = first; i < first + count; i++) {
        uint8_t bit = (uint8_t)(1u << (i & 7));
        if (w->seen[i >> 3] & bit)
            return false;
        w->seen[i >> 3] |= bit;
    }
    return true;
}

static tree
read_tree(const uint8_t *db)
{
    return (tree){.flags = (uint16_t)get(db + 4, 2),
                  .depth = (uint16_t)get(db + 6, 2),
                  .branches = get(db + 8, 8),
                  .leaves = get(db + 16, 8),
                  .overflows = get(db + 24, 8),
                  .entries = get(db + 32, 8),
                  .root = get(db + 40, 8)};
}

static bool walk_tree(walk *w, tree *t, uint8_t *buffers);

/* ---- leaves ---- */

/* A value of several pages: only the first has a header. A shorter one may have
 * been written over a longer one. */
static bool
check_overflow(walk *w, tree *t, const uint8_t *data, uint64_t size)
{
    uint8_t head[PAGE_HEAD];
    uint64_t number = get(data, 8);
    if (number < 2 || number > w->last ||
        !read_all(w->fd, head, sizeof head, number * w->page_size))
        return false;
    uint64_t pages = get(head + 12, 4);
    t->found_overflows += pages;
    return get(head, 8) == number && get(head + 10, 2) == OVERFLOW_PAGE &&
           pages >= (size + PAGE_HEAD - 1) / w->page_size + 1 &&
           take_pages(w, number, pages);
}

/* Free pages: a count, then their numbers, falling. */
static bool
check_free_list(walk *w, const uint8_t *data, uint64_t size)
{
    uint64_t count = size >= 8 ? get(data, 8) : 0, before = UINT64_MAX;
    if (size < 8 || count > size / 8 - 1)
        return false;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = get(data + 8 * i, 8);
        if (number >= before || !take_pages(w, number, 1))
            return false;
        before = number;
    }
    return true;
}

/* A free list that is a long value; as long as it may be, page by page. */
static bool
check_long_free_list(walk *w, const uint8_t *data, uint64_t size)
{
    uint64_t at = get(data, 8) * w->page_size + PAGE_HEAD, before = UINT64_MAX;
    uint8_t number[8];
    if (!read_all(w->fd, number, 8, at) || get(number, 8) > size / 8 - 1)
        return false;
    for (uint64_t count = get(number, 8); count; count--) {
        at += 8;
        if (!read_all(w->fd, number, 8, at) || get(number, 8) >= before ||
            !take_pages(w, get(number, 8), 1))
            return false;
        before = get(number, 8);
    }
    return true;
}

static bool
check_leaf_node(walk *w, tree *t, const uint8_t *node, uint32_t room,
                uint8_t *buffers)
{
    uint64_t size = get(node, 2) | get(node + 2, 2) << 16;
    uint16_t flags = (uint16_t)get(node + 4, 2);
    uint32_t key = (uint32_t)get(node + 6, 2);
    uint64_t held = flags & BIG_DATA ? 8 : size;
    const uint8_t *data = node + NODE_HEAD + key;
    if (!key || key > KEY_MAX || NODE_HEAD + key + held > room ||
        ((t->flags & INTEGER_KEY) && key != 8) ||
        (flags & ~SUB_DATA & ~BIG_DATA))
        return false;
    t->found_entries++;
    if (flags & SUB_DATA) {
        tree sub = read_tree(data);
        return t->is_main && flags == SUB_DATA && size == DB_SIZE &&
               !(sub.flags & ~INTEGER_KEY) && walk_tree(w, &sub, buffers);
    }
    if (flags & BIG_DATA)
        return check_overflow(w, t, data, size) &&
               (!t->is_free || check_long_free_list(w, data, size));
    return !t->is_free || check_free_list(w, data, size);
}

/* ---- pages ---- */

static bool walk_page(walk *w, tree *t, uint64_t number, uint16_t depth,
                      uint8_t *buffers);

static bool
check_node(walk *w, tree *t, const uint8_t *page, uint32_t at, uint16_t depth,
           uint8_t *buffers)
{
    const uint8_t *node = page + at;
    uint32_t room = w->page_size - at;
    if (depth == t->depth)
        return check_leaf_node(w, t, node, room, buffers);
    uint32_t key = (uint32_t)get(node + 6, 2);
    uint64_t child =
        get(node, 2) | get(node + 2, 2) << 16 | get(node + 4, 2) << 32;
    return key <= KEY_MAX && NODE_HEAD + key <= room &&
           walk_page(w, t, child, (uint16_t)(depth + 1), buffers);
}

static bool
walk_page(walk *w, tree *t, uint64_t number, uint16_t depth, uint8_t *buffers)
{
    uint8_t *page = buffers + (size_t)(depth - 1) * w->page_size;
    if (!take_pages(w, number, 1) ||
        !read_all(w->fd, page, w->page_size, number * w->page_size))
        return false;
    bool leaf = depth == t->depth;
    uint32_t lower = (uint32_t)get(page + 12, 2);
    uint32_t upper = (uint32_t)get(page + 14, 2);
    if (get(page, 8) != number || get(page + 10, 2) != (leaf ? LEAF : BRANCH) ||
        lower < PAGE_HEAD || lower > upper || upper > w->page_size ||
        (lower & 1) || (upper & 1))
        return false;
    uint32_t nodes = (lower - PAGE_HEAD) / 2;
    if (nodes < (leaf ? 1 : 2))
        return false;
    *(leaf ? &t->found_leaves : &t->found_branches) += 1;
    uint32_t used = 0;
    for (uint32_t i = 0; i < nodes; i++) {
        uint32_t at = (uint32_t)get(page + PAGE_HEAD + 2 * i, 2);
        if (at < upper || at > w->page_size - NODE_HEAD || (at & 1) ||
            !check_node(w, t, page, at, depth, buffers))
            return false;
        /* nodes that overlap would be found out here, when one is removed */
        uint64_t held = leaf ? get(page + at + 4, 2) & BIG_DATA
                                   ? 8
                                   : get(page + at, 2) | get(page + at + 2, 2)
                                                             << 16
                             : 0;
        used += (uint32_t)((NODE_HEAD + get(page + at + 6, 2) + held + 1) &
                           ~UINT64_C(1));
    }
    return used == w->page_size - upper;
}

static bool
walk_tree(walk *w, tree *t, uint8_t *buffers)
{
    if (t->root == UINT64_MAX)
        return !t->depth && !t->entries && !t->leaves && !t->branches &&
               !t->overflows;
    /* a tree within the main one has the second half of the pages */
    if (!t->depth || t->depth > DEPTH_MAX)
        return false;
    if (!t->is_main && !t->is_free)
        buffers = w->page + (size_t)DEPTH_MAX * w->page_size;
    return walk_page(w, t, t->root, 1, buffers) &&
           t->found_branches == t->branches && t->found_leaves == t->leaves &&
           t->found_overflows == t->overflows && t->found_entries == t->entries;
}

/* ---- the file ---- */

static bool
is_meta(const uint8_t *page, uint64_t number)
{
    const uint8_t *meta = page + PAGE_HEAD;
    return get(page, 8) == number && get(page + 10, 2) == META &&
           get(meta, 4) == (uint32_t)META_MAGIC && get(meta + 4, 4) == 1;
}

/* The page size is in the first meta; LMDB takes the one with the later
 * transaction. */
static perf_err
read_meta(walk *w, uint8_t meta[META_SIZE], uint64_t bytes)
{
    uint8_t page[2][PAGE_HEAD + META_SIZE];
    if (!read_all(w->fd, page[0], sizeof page[0], 0) || !is_meta(page[0], 0))
        return PERF_ERR_CORRUPT;
    w->page_size = (uint32_t)get(page[0] + PAGE_HEAD + 24, 4);
    if (w->page_size < 512 || w->page_size > 32768 ||
        (w->page_size & (w->page_size - 1)) ||
        !read_all(w->fd, page[1], sizeof page[1], w->page_size) ||
        !is_meta(page[1], 1))
        return PERF_ERR_CORRUPT;
    int later = get(page[1] + PAGE_HEAD + META_SIZE - 8, 8) >
                get(page[0] + PAGE_HEAD + META_SIZE - 8, 8);
    memcpy(meta, page[later] + PAGE_HEAD, META_SIZE);
    w->last = get(meta + META_SIZE - 16, 8);
    return get(meta + 24, 4) == w->page_size && w->last >= 1 &&
                   w->last < bytes / w->page_size
               ? PERF_OK
               : PERF_ERR_CORRUPT;
}

static bool
walk_file(walk *w, const uint8_t meta[META_SIZE])
{
    tree free_pages = read_tree(meta + 24);
    tree names = read_tree(meta + 24 + DB_SIZE);
    free_pages.is_free = names.is_main = true;
    return free_pages.flags == INTEGER_KEY && !names.flags &&
           walk_tree(w, &names, w->page) && walk_tree(w, &free_pages, w->page);
}

perf_err
perfi_pages_check(int fd, const perf_allocator *a)
{
    walk w = {.fd = fd};
    struct stat st;
    uint8_t meta[META_SIZE];
    if (fstat(fd, &st))
        return PERF_ERR_SYSTEM;
    if (!st.st_size)
        return PERF_OK;
    perf_err err = read_meta(&w, meta, (uint64_t)st.st_size);
    if (err)
        return err;
    size_t bits = (size_t)(w.last / 8 + 1);
    size_t pages = (size_t)2 * DEPTH_MAX * w.page_size;
    w.seen = a->alloc(bits, a->ctx);
    w.page = a->alloc(pages, a->ctx);
    err = PERF_ERR_NOMEM;
    if (w.seen && w.page)
        err = walk_file(&w, meta) ? PERF_OK : PERF_ERR_CORRUPT;
    a->free(w.seen, bits, a->ctx);
    a->free(w.page, pages, a->ctx);
    return err;
}

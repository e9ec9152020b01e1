/* pages.h - whether a database file can be given to LMDB, which believes what
 * it reads there and would follow a wrong number out of the file. */
#ifndef PERFI_DISK_PAGES_H
#define PERFI_DISK_PAGES_H
#include <libperf/allocator.h>

/** Follow every page of data.mdb, but for the values' own. An empty file is in
 *  order. Nobody may be writing.
 *  Errors: PERF_ERR_CORRUPT, PERF_ERR_NOMEM, PERF_ERR_SYSTEM (reading). */
perf_err perfi_pages_check(int fd, const perf_allocator *allocator);
#endif

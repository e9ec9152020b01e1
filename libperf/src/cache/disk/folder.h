/* folder.h - the folder of a disk tier and the files in it: whose they are, how
 * they are made, how damaged ones get out of the way. */
#ifndef PERFI_DISK_FOLDER_H
#define PERFI_DISK_FOLDER_H
#include <libperf/disk.h>

enum { PERFI_PATH_BYTES = 64 };

/** What is wrong, in words; `why` may be NULL. */
void perfi_disk_why(char *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Whether a file system's magic number (statfs) is one of other machines. */
bool perfi_is_remote(uint64_t magic);

/** Open the folder, and make it if need be.
 *  @param fd  receives it; O_CLOEXEC */
perf_err perfi_disk_folder_open(const char *path, char *why, int *fd);

/** Wait at most `wait_ms` until nobody else opens what lies in the folder. It
 *  ends with perfi_disk_folder_unlock(). */
perf_err perfi_disk_folder_lock(int folder, uint64_t wait_ms);
void perfi_disk_folder_unlock(int folder);

/** Open or make a file of the folder with mode 0600; not through a link. */
perf_err perfi_disk_file_open(int folder, const char *name, char *why, int *fd);

/** Make it that long at least, with room on the disk for all of it. */
perf_err perfi_disk_file_reserve(int fd, uint64_t bytes);

/** Move what the folder holds into "damaged" within; what was there before is
 *  removed. The folder is locked. */
perf_err perfi_disk_set_aside(int folder);

/** A path to the folder that nobody can exchange. */
void perfi_disk_folder_path(int folder, char out[PERFI_PATH_BYTES]);

/** The id of this boot of the system; zeros where there is none. */
void perfi_boot_id(uint8_t out[16]);
#endif

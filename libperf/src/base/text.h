/* text.h - small questions to texts, and cutting UTF-8 between characters. */
#ifndef PERFI_TEXT_H
#define PERFI_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool
perfi_text_ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/** The longest prefix of at most `limit` bytes that does not split a
 *  character. Bytes that are not UTF-8 are cut where they are. */
static inline size_t
perfi_text_cut(const char *text, size_t length, size_t limit)
{
    if (length <= limit)
        return length;
    size_t cut = limit;
    while (cut > 0 && limit - cut < 4 &&
           ((unsigned char)text[cut] & 0xC0) == 0x80)
        cut--;
    return ((unsigned char)text[cut] & 0xC0) == 0x80 ? limit : cut;
}

/** Where the longest end of at most `limit` bytes begins that does not split a
 *  character. Bytes that are not UTF-8 are cut where they are. */
static inline size_t
perfi_text_cut_front(const char *text, size_t length, size_t limit)
{
    if (length <= limit)
        return 0;
    size_t first = length - limit, from = first;
    while (from < length && from - first < 4 &&
           ((unsigned char)text[from] & 0xC0) == 0x80)
        from++;
    return from - first < 4 ? from : first;
}
#endif

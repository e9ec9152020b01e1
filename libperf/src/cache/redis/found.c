/* found.c - whether what was found under a key is a valid entry of that key. */
#include <libperf/entry.h>
#include <libperf/redis.h>
#include <string.h>

/* When a label was invalidated; 0: never. */
static uint64_t
time_of(const perf_redis_reply *reply)
{
    uint64_t ms = 0;
    if (reply->type == PERF_REDIS_NIL)
        return 0;
    if (reply->type != PERF_REDIS_STRING || !reply->size || reply->size > 18)
        return UINT64_MAX;
    for (size_t i = 0; i < reply->size; i++) {
        if (reply->bytes[i] < '0' || reply->bytes[i] > '9')
            return UINT64_MAX;
        ms = ms * 10 + (uint64_t)(reply->bytes[i] - '0');
    }
    return ms;
}

/* Labels are few: an entry has its namespace's, its scope's, its tags'. */
static perf_redis_verdict
judge_labels(const perf_entry *entry, const perf_redis_reply *times,
             const uint64_t *asked, size_t n)
{
    perf_redis_verdict verdict = PERF_REDIS_HIT;
    for (size_t i = 0; i < entry->label_count; i++) {
        uint64_t label = perf_entry_label(entry, i);
        size_t at = 0;
        while (at < n && asked[at] != label)
            at++;
        if (at == n)
            verdict = PERF_REDIS_UNSURE;
        else if (times->element[1 + at]->type != PERF_REDIS_NIL &&
                 entry->created_ms <= time_of(times->element[1 + at]))
            return PERF_REDIS_INVALIDATED;
    }
    return verdict;
}

perf_redis_verdict
perf_redis_entry_at(const perf_redis_ticket *ticket, size_t i, const void *key,
                    size_t key_size, uint64_t now_ms, const uint64_t *asked,
                    size_t n, const perf_redis_reply **out)
{
    perf_entry entry;
    if (out)
        *out = NULL;
    const perf_redis_reply *reply = perf_redis_reply_at(ticket, i);
    if (!reply || !out || !key || (n && !asked) || reply->count != n + 1 ||
        reply->element[0]->type != PERF_REDIS_STRING)
        return PERF_REDIS_MISS;
    const perf_redis_reply *found = reply->element[0];
    if (perf_entry_read(found->bytes, found->size, &entry) ||
        entry.key_size != key_size || memcmp(entry.key, key, key_size) != 0)
        return PERF_REDIS_DAMAGED;
    if (entry.expires_ms <= now_ms)
        return PERF_REDIS_EXPIRED;
    perf_redis_verdict verdict = judge_labels(&entry, reply, asked, n);
    if (verdict == PERF_REDIS_HIT || verdict == PERF_REDIS_UNSURE)
        *out = found;
    return verdict;
}

/* exporter_http.c - requests by libcurl: one handle a lane, all in one thread.
 */
#include "exporter.h"

#include <libperf/clock.h>

#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

const char *
perfi_signal_text(perf_otlp_signal signal)
{
    static const char *const text[] = {"traces", "metrics", "logs"};
    return text[signal];
}

/* ---- what comes back ---- */

static size_t
take_body(char *bytes, size_t size, size_t n, void *ctx)
{
    perfi_transfer *t = ctx;
    size_t length = size * n, room = PERFI_ANSWER_BYTES - t->size;
    size_t kept = length < room ? length : room;
    memcpy(t->body + t->size, bytes, kept);
    t->size += kept;
    t->total += length;
    return t->total > PERFI_ANSWER_MAX ? 0 : length;
}

static void
take_value(char to[PERFI_HEADER_BYTES], const char *from, size_t length)
{
    while (length && (*from == ' ' || *from == '\t')) {
        from++;
        length--;
    }
    while (length && strchr(" \t\r\n", from[length - 1]) && from[length - 1])
        length--;
    if (length >= PERFI_HEADER_BYTES)
        return;
    memcpy(to, from, length);
    to[length] = 0;
}

static size_t
take_header(char *line, size_t size, size_t n, void *ctx)
{
    static const char type[] = "content-type:", retry[] = "retry-after:";
    perfi_transfer *t = ctx;
    size_t length = size * n;
    if (length >= 5 && !strncasecmp(line, "HTTP/", 5)) /* perhaps after a 100 */
        t->type[0] = t->retry_after[0] = 0;
    else if (length >= sizeof type && !strncasecmp(line, type, sizeof type - 1))
        take_value(t->type, line + sizeof type - 1, length - sizeof type + 1);
    else if (length >= sizeof retry &&
             !strncasecmp(line, retry, sizeof retry - 1))
        take_value(t->retry_after, line + sizeof retry - 1,
                   length - sizeof retry + 1);
    return length;
}

/* ---- handles ---- */

static void
restrict_protocols(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
                     (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static void
set_tls(perf_exporter *e, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (e->ca) { /* in place of the system's, not beside it */
        curl_easy_setopt(easy, CURLOPT_CAINFO, e->ca);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (e->certificate)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, e->certificate);
    if (e->key)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, e->key);
}

static bool
open_transfer(perf_exporter *e, perf_otlp_signal signal)
{
    perfi_transfer *t = &e->transfer[signal];
    CURL *easy = t->easy = curl_easy_init();
    if (!easy)
        return false;
    long timeout_ms = (long)((e->config.timeout_ns + 999999) / 1000000);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, (void *)(uintptr_t)signal);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "libperf/" PERF_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, e->target[signal].headers);
    restrict_protocols(easy);
    set_tls(e, easy);
    return !curl_easy_setopt(easy, CURLOPT_URL, e->target[signal].url);
}

static void
initialise(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

perf_err
perfi_http_open(perf_exporter *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
    e->multi = curl_multi_init();
    if (!e->multi)
        return PERF_ERR_NOMEM;
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        if (e->target[i].url && !open_transfer(e, (perf_otlp_signal)i))
            return PERF_ERR_NOMEM;
    return PERF_OK;
}

void
perfi_http_abort(perf_exporter *e)
{
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        if (e->transfer[i].busy)
            curl_multi_remove_handle(e->multi, e->transfer[i].easy);
        if (e->queue.lane[i].first)
            e->queue.lane[i].first->under_way = false;
        e->transfer[i].busy = false;
    }
}

void
perfi_http_close(perf_exporter *e)
{
    if (!e->multi)
        return;
    perfi_http_abort(e);
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        curl_easy_cleanup(e->transfer[i].easy);
        e->transfer[i].easy = NULL;
    }
    curl_multi_cleanup(e->multi);
    e->multi = NULL;
}

void
perfi_http_abandon(perf_exporter *e)
{
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        curl_socket_t fd = CURL_SOCKET_BAD;
        /* closed behind libcurl's back: it would say goodbye on it */
        if (e->transfer[i].easy &&
            !curl_easy_getinfo(e->transfer[i].easy, CURLINFO_ACTIVESOCKET,
                               &fd) &&
            fd != CURL_SOCKET_BAD)
            close(fd);
        e->transfer[i].easy = NULL;
    }
    e->multi = NULL;
}

/* ---- requests ---- */

static bool
start(perf_exporter *e, perf_otlp_signal signal, uint64_t now_ns)
{
    perfi_transfer *t = &e->transfer[signal];
    if (t->busy || !t->easy)
        return false;
    perfi_parcel *p = perfi_outbox_take_at(&e->queue, signal, now_ns);
    if (!p)
        return false;
    t->size = t->total = 0;
    t->type[0] = t->retry_after[0] = t->error[0] = 0;
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, (const void *)p->bytes);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->size);
    t->busy = !curl_multi_add_handle(e->multi, t->easy);
    if (!t->busy) { /* no memory: as if there was no connection */
        perfi_judgement j = {.verdict = PERFI_AGAIN};
        perfi_outbox_answer_at(&e->queue, signal, &j, now_ns);
    }
    return true;
}

/* In words, for whoever asks. */
static void
tell(perf_exporter *e, perf_otlp_signal signal, long status, CURLcode result,
     const perfi_judgement *j)
{
    const perfi_transfer *t = &e->transfer[signal];
    const char *what = perfi_signal_text(signal);
    const char *colon = *j->message ? ": " : "";
    if (!status)
        perfi_exporter_say(e, "%s: %s", what,
                           *t->error ? t->error : curl_easy_strerror(result));
    else if (j->verdict != PERFI_ACCEPTED)
        perfi_exporter_say(e, "%s: HTTP %ld%s%s", what, status, colon,
                           j->message);
    else if (j->rejected || *j->message)
        perfi_exporter_say(e, "%s: %llu refused%s%s", what,
                           (unsigned long long)j->rejected, colon, j->message);
}

static void
finish(perf_exporter *e, perf_otlp_signal signal, CURLcode result,
       uint64_t now_ns)
{
    perfi_transfer *t = &e->transfer[signal];
    perfi_judgement j;
    perfi_answer answer = {.type = t->type,
                           .retry_after = t->retry_after,
                           .body = t->body,
                           .size = t->size};
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &answer.status);
    if (answer.status < 200) /* or the answer is not the final one */
        answer.status = 0;
    /* Once it said that it has taken it, the rest of the answer may be missing,
     * or late: sent again it would be there twice. */
    if (result)
        answer.size = 0;
    perfi_answer_judge(&answer, (uint64_t)time(NULL), &j);
    tell(e, signal, answer.status, result, &j);
    curl_multi_remove_handle(e->multi, t->easy);
    t->busy = false;
    perfi_outbox_answer_at(&e->queue, signal, &j, now_ns);
}

bool
perfi_http_step_at(perf_exporter *e, uint64_t now_ns)
{
    bool changed = false;
    int running, left;
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        changed |= start(e, (perf_otlp_signal)i, now_ns);
    curl_multi_perform(e->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(e->multi, &left));) {
        char *signal = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &signal);
        /* what it was asked to wait for begins now, not when we were woken */
        finish(e, (perf_otlp_signal)(uintptr_t)signal, m->data.result,
               perf_clock_now_ns());
        changed = true;
    }
    return changed;
}

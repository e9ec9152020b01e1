/* exporter_settings.c - defaults, checks that name what is wrong, and copies.
 */
#include "exporter.h"
#include "otlp.h"

#include <stdlib.h>
#include <string.h>

#define MS   UINT64_C(1000000)
#define S    UINT64_C(1000000000)
#define HOUR (3600 * S)

/* ---- checks ---- */

static bool
in_range(uint64_t value, uint64_t least, uint64_t most)
{
    return value >= least && value <= most;
}

static const char *
out_of_range(const perf_exporter_config *c)
{
    if (!in_range(c->interval_ns, 10 * MS, HOUR))
        return "interval_ns";
    if (!in_range(c->metrics_interval_ns, 10 * MS, HOUR))
        return "metrics_interval_ns";
    if (!in_range(c->timeout_ns, MS, HOUR))
        return "timeout_ns";
    if (!in_range(c->backoff_min_ns, 1, HOUR))
        return "backoff_min_ns";
    if (!in_range(c->backoff_max_ns, c->backoff_min_ns, HOUR))
        return "backoff_max_ns";
    if (c->max_queue_bytes < 64 << 10)
        return "max_queue_bytes";
    return NULL;
}

static bool
part_is(CURLU *url, CURLUPart part, const char *one, const char *other)
{
    char *text = NULL;
    bool is = !curl_url_get(url, part, &text, 0) &&
              (!one || !strcmp(text, one) || !strcmp(text, other));
    curl_free(text);
    return is;
}

static bool
is_url(const char *text)
{
    CURLU *url = curl_url();
    bool good = url && !curl_url_set(url, CURLUPART_URL, text, 0) &&
                part_is(url, CURLUPART_SCHEME, "http", "https") &&
                part_is(url, CURLUPART_HOST, NULL, NULL) &&
                !part_is(url, CURLUPART_USER, NULL, NULL) &&
                !part_is(url, CURLUPART_PASSWORD, NULL, NULL);
    curl_url_cleanup(url);
    return good;
}

/* A token, as HTTP has it; and a text that stays on its line. */
static bool
is_header(const char *name, const char *value)
{
    if (!*name || !value)
        return false;
    for (const char *at = name; *at; at++)
        if (*at <= 32 || *at >= 127 || strchr("()<>@,;:\\\"/[]?={}", *at))
            return false;
    for (const unsigned char *at = (const unsigned char *)value; *at; at++)
        if ((*at < 32 && *at != '\t') || *at == 127)
            return false;
    return true;
}

/* ---- copies ---- */

static perf_err
copy(char **to, const char *text)
{
    *to = text ? strdup(text) : NULL;
    return text && !*to ? PERF_ERR_NOMEM : PERF_OK;
}

static perf_err
add_header(struct curl_slist **list, const char *name, const char *value)
{
    size_t n = strlen(name), m = strlen(value);
    char *line = malloc(n + m + 3);
    if (!line)
        return PERF_ERR_NOMEM;
    memcpy(line, name, n);
    memcpy(line + n, ": ", 2);
    memcpy(line + n + 2, value, m + 1);
    if (!m) /* how libcurl wants to be told of an empty one */
        memcpy(line + n, ";", 2);
    struct curl_slist *longer = curl_slist_append(*list, line);
    memset(line, 0, n + m + 2);
    __asm__ volatile("" : : "r"(line) : "memory");
    free(line);
    if (longer)
        *list = longer;
    return longer ? PERF_OK : PERF_ERR_NOMEM;
}

static perf_err
set_target(perf_exporter *e, perf_otlp_signal signal, const char *url,
           const char *const *headers)
{
    perfi_target *t = &e->target[signal];
    bool json = e->config.otlp.format == PERF_OTLP_JSON;
    if (!url)
        return PERF_OK;
    if (!is_url(url))
        return PERF_ERR_INVALID;
    perf_err err = copy(&t->url, url);
    for (; !err && headers && *headers; headers += 2)
        err = is_header(headers[0], headers[1])
                  ? add_header(&t->headers, headers[0], headers[1])
                  : PERF_ERR_INVALID;
    if (!err)
        err = add_header(&t->headers, "Content-Type",
                         json ? "application/json" : "application/x-protobuf");
    if (!err && e->config.gzip)
        err = add_header(&t->headers, "Content-Encoding", "gzip");
    /* or libcurl waits a second for "100 Continue" */
    struct curl_slist *longer =
        err ? NULL : curl_slist_append(t->headers, "Expect:");
    if (longer)
        t->headers = longer;
    return err ? err : longer ? PERF_OK : PERF_ERR_NOMEM;
}

static perf_err
set_targets(perf_exporter *e, const perf_exporter_config *c, const char **field)
{
    const struct {
        const char *field, *url;
        const char *const *headers;
    } given[PERF_OTLP_SIGNALS] = {
        [PERF_OTLP_TRACES] = {"traces_url", c->traces_url, c->traces_headers},
        [PERF_OTLP_METRICS] = {"metrics_url", c->metrics_url,
                               c->metrics_headers},
        [PERF_OTLP_LOGS] = {"logs_url", c->logs_url, c->logs_headers},
    };
    e->config.otlp.signals = 0;
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        perf_err err =
            set_target(e, (perf_otlp_signal)i, given[i].url, given[i].headers);
        if (err) {
            *field = given[i].field;
            return err;
        }
        if (given[i].url)
            e->config.otlp.signals |= 1u << i;
    }
    *field = "traces_url";
    return e->config.otlp.signals ? PERF_OK : PERF_ERR_INVALID;
}

static size_t
count_texts(const char *const *texts)
{
    size_t n = 0;
    while (texts && texts[n])
        n++;
    return n;
}

static perf_err
copy_resource(perf_exporter *e, const char *const *resource)
{
    size_t n = count_texts(resource);
    perf_err err = PERF_OK;
    e->resource = calloc(n + 1, sizeof *e->resource);
    for (size_t i = 0; e->resource && !err && i < n; i++)
        err = copy(&e->resource[i], resource[i]);
    return e->resource ? err : PERF_ERR_NOMEM;
}

perf_err
perfi_exporter_settings(perf_exporter *e, const perf_exporter_config *c,
                        const char **field)
{
    e->config = *c;
    if (c->gzip && !(perf_exporter_features() & 2)) {
        *field = "gzip";
        return PERF_ERR_UNSUPPORTED;
    }
    if ((*field = out_of_range(c)))
        return PERF_ERR_RANGE;
    *field = "otlp";
    perf_err err = perfi_otlp_check(&c->otlp);
    if (!err)
        err = set_targets(e, c, field);
    if (err)
        return err;
    *field = NULL;
    err = copy(&e->ca, c->ca);
    if (!err)
        err = copy(&e->certificate, c->certificate);
    if (!err)
        err = copy(&e->key, c->key);
    if (!err)
        err = copy(&e->path, c->path);
    return err ? err : copy_resource(e, c->otlp.resource);
}

void
perfi_exporter_settings_free(perf_exporter *e)
{
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        perfi_target *t = &e->target[i];
        for (struct curl_slist *at = t->headers; at; at = at->next)
            memset(at->data, 0,
                   strlen(at->data)); /* there may be a key in it */
        __asm__ volatile("" : : "r"(t) : "memory");
        curl_slist_free_all(t->headers);
        free(t->url);
    }
    for (char **at = e->resource; at && *at; at++)
        free(*at);
    free(e->resource);
    free(e->ca);
    free(e->certificate);
    free(e->key);
    free(e->path);
}

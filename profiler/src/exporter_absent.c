/* exporter_absent.c - where there is no libcurl nothing is sent: bodies can
 * still be encoded (otlp.h) and sent by other means. */
#include <libperf/exporter.h>

#include <string.h>

uint32_t
perf_exporter_features(void)
{
    return 0;
}

void
perf_exporter_config_init(perf_exporter_config *config, uint32_t size)
{
    if (!config)
        return;
    perf_exporter_config c = {.size = size,
                              .version = PERF_EXPORTER_CONFIG_VERSION};
    perf_otlp_config_init(&c.otlp, sizeof c.otlp);
    memset(config, 0, size);
    memcpy(config, &c, size < sizeof c ? size : sizeof c);
}

perf_err
perf_exporter_start_blocking(const perf_exporter_config *config,
                             const char **field, perf_exporter **out)
{
    if (field)
        *field = NULL;
    if (!config || !out)
        return PERF_ERR_INVALID;
    *out = NULL;
    return PERF_ERR_UNSUPPORTED;
}

perf_err
perf_exporter_flush_blocking(perf_exporter *exporter, uint64_t timeout_ns)
{
    (void)exporter, (void)timeout_ns;
    return PERF_ERR_INVALID;
}

perf_err
perf_exporter_stop_blocking(perf_exporter *exporter, uint64_t timeout_ns)
{
    (void)exporter, (void)timeout_ns;
    return PERF_OK;
}

void
perf_exporter_destroy_blocking(perf_exporter *exporter)
{
    (void)exporter;
}

void
perf_exporter_stats_now(perf_exporter *exporter, perf_exporter_stats *out)
{
    (void)exporter;
    if (out)
        *out = (perf_exporter_stats){0};
}

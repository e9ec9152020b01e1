/* dial_tls.c - TLS by hiredis_ssl, which leaves to us whom to trust: the
 * certificate must come from a known authority and carry the server's name. */
#include "dial.h"

#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

bool
perfi_tls_is_there(void)
{
    return true;
}

static bool
say(char error[128], const char *what)
{
    char why[96] = "";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, why, sizeof why);
    snprintf(error, 128, "TLS: %s%s%.90s", what, *why ? ": " : "", why);
    return false;
}

static bool
load(SSL_CTX *context, const perf_redis_config *s, char error[128])
{
    if (s->tls_ca ? SSL_CTX_load_verify_locations(context, s->tls_ca, NULL) != 1
                  : SSL_CTX_set_default_verify_paths(context) != 1)
        return say(error, "no certificates to trust");
    if (s->tls_cert &&
        SSL_CTX_use_certificate_chain_file(context, s->tls_cert) != 1)
        return say(error, "certificate");
    const char *key = s->tls_key ? s->tls_key : s->tls_cert;
    if (key && SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        return say(error, "key");
    return true;
}

/* A name, or an address, that the certificate has to be for. */
static bool
expect(SSL *ssl, const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, name, address) == 1 ||
        inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set_tlsext_host_name(ssl, name) == 1 &&
           SSL_set1_host(ssl, name) == 1;
}

/* NULL, and the error is said. */
static SSL *
make(const perf_redis_config *s, char error[128])
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = NULL;
    if (!context) {
        say(error, "out of memory");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (load(context, s, error)) {
        ssl = SSL_new(context);
        if (!ssl || !expect(ssl, s->tls_name ? s->tls_name : s->host)) {
            say(error, "the server's name");
            SSL_free(ssl);
            ssl = NULL;
        }
    }
    SSL_CTX_free(context); /* the connection holds it */
    return ssl;
}

bool
perfi_tls_begin(redisContext *c, const perf_redis_config *config,
                char error[128])
{
    SSL *ssl = make(config, error);
    if (!ssl)
        return false;
    if (redisInitiateSSL(c, ssl) == REDIS_OK)
        return true; /* it is the connection's from here on */
    long verified = SSL_get_verify_result(ssl);
    if (verified != X509_V_OK)
        snprintf(error, 128, "TLS: %s",
                 X509_verify_cert_error_string(verified));
    else
        snprintf(error, 128, "TLS: %.120s", c->errstr);
    SSL_free(ssl);
    return false;
}

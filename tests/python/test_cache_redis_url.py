"""Addresses: from URLs, from redis-py clients; errors name the part that is wrong and never the password."""

from __future__ import annotations

from typing import Any

import pytest

from libperf._core import lib
from libperf.cache.redis import RedisTier
from libperf.cache.redis_url import Address, address_of
from libperf.errors import InvalidError, UnsupportedError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Address()),
        ("redis://cache", Address(host="cache")),
        ("redis://cache:7000/3", Address(host="cache", port=7000, database=3)),
        ("redis://:p%40ss@cache", Address(host="cache", password="p@ss")),
        ("redis://me:pw@[::1]:7000", Address(host="::1", port=7000, user="me", password="pw")),
        ("redis://cache/?db=2", Address(host="cache", database=2)),
        ("rediss://cache/1", Address(host="cache", database=1, tls=True)),
        ("rediss://cache?ssl_ca_certs=/ca.pem", Address(host="cache", tls=True, tls_ca="/ca.pem")),
        ("unix:///run/my%20redis.sock?db=4", Address(path="/run/my redis.sock", database=4)),
        ("unix://me:pw@/run/r.sock", Address(path="/run/r.sock", user="me", password="pw")),
    ],
)
def test_urls(url: str, expected: Address) -> None:
    """Each form, each part."""
    assert address_of(url) == expected
    assert address_of(expected) is expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://u:hidden@cache", "begins with 'http'"),
        ("cache:6379", "begins with 'cache'"),
        ("", "begins with ''"),
        ("unix://", "without the path"),
        ("redis://u:hidden@cache:99999", "the port"),
        ("redis://u:hidden@cache:x", "the port"),
        ("redis://u:hidden@cache/one", "database 'one'"),
        ("redis://u:hidden@cache/-1", "database '-1'"),
        ("redis://u:hidden@cache?color=red", r"\?color="),
        ("redis://user@cache", "a user but no password"),
    ],
)
def test_urls_that_are_none(url: str, words: str) -> None:
    """What is wrong is said, with the forms there are; a password never."""
    with pytest.raises(InvalidError, match=words) as raised:
        address_of(url)
    assert "hidden" not in str(raised.value)


def test_shown_without_password() -> None:
    """As text and in repr()."""
    address = address_of("redis://me:hidden@[::1]:7000/2")
    assert str(address) == "redis://[::1]:7000/2"
    assert "hidden" not in repr(address)


class Pool:
    """What redis-py's clients have."""

    def __init__(self, kind: type, **arguments: Any) -> None:
        self.connection_class, self.connection_kwargs = kind, arguments


class Client:
    def __init__(self, pool: Pool) -> None:
        self.connection_pool = pool


class Connection: ...


class SSLConnection(Connection): ...


class Mine(SSLConnection): ...


def test_clients() -> None:
    """Host, port, database, user and password, socket, TLS: as the client has them."""
    arguments = {"host": "cache", "port": 7000, "db": 2, "username": None, "password": "pw", "encoding": "utf-8"}
    assert address_of(Client(Pool(Connection, **arguments))) == Address("cache", 7000, None, None, "pw", 2)
    assert address_of(Client(Pool(Connection, path="/s", db=0))) == Address(path="/s")
    assert address_of(Client(Pool(Mine, host="h", ssl_ca_certs="/ca"))) == Address("h", tls=True, tls_ca="/ca")


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (7, "redis=int: neither a URL"),
        (Client(Pool(Connection, credential_provider=object())), "credential_provider"),
        (Client(Pool(SSLConnection, ssl_cert_reqs="none")), "always checks the server's certificate"),
    ],
)
def test_clients_that_cannot_be_followed(server: Any, words: str) -> None:
    """Say what to give instead."""
    with pytest.raises(InvalidError, match=words):
        address_of(server)


@pytest.mark.skipif(lib.perf_redis_features() & 2, reason="this build has TLS")
def test_tls_without_the_library() -> None:
    """Is refused when the tier is made, and the way out is named."""
    with pytest.raises(UnsupportedError, match=r"hiredis_ssl.*build libperf again"):
        RedisTier("rediss://localhost")

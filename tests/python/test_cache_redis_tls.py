"""Redis over TLS: a real server with a certificate of our own authority, and others that are not to be believed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from libperf._core import lib
from libperf.cache.redis import RedisTier
from support_redis import RedisServer, entry_of, key_of

TLS = 2  # of perf_redis_features()
pytestmark = [
    pytest.mark.skipif(not lib.perf_redis_features() & TLS, reason="this build's hiredis has no TLS"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command"),
]


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def certificates(folder: Path, name: str) -> None:
    """<name>-ca.pem, and a certificate that it signed: <name>.pem with <name>.key, for localhost."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl(folder, "req", "-x509", *new, "-keyout", f"{name}-ca.key", "-out", f"{name}-ca.pem", "-subj", f"/CN={name}")
    openssl(
        folder, "req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost", "-CA", f"{name}-ca.pem", "-CAkey", f"{name}-ca.key",
    )  # fmt: skip


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a server that speaks TLS, and the folder of the certificates."""
    folder = tmp_path_factory.mktemp("tls")
    certificates(folder, "ours")
    certificates(folder, "others")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        number = s.getsockname()[1]
    files = (
        f"--tls-cert-file {folder}/ours.pem --tls-key-file {folder}/ours.key --tls-ca-cert-file {folder}/ours-ca.pem"
    )
    settings = f"--bind 127.0.0.1 --tls-port {number} --tls-auth-clients no {files}"
    with RedisServer(folder, *settings.split()):
        yield number, folder


def round_trip(tier: RedisTier) -> bytes | None:
    key = key_of("key")
    entry = entry_of(key, b"x" * 100_000)
    tier.put(key, entry)
    tier.flush(5.0)
    found = tier.get(key)
    assert found is None or found == entry
    return found


def test_a_server_that_our_authority_signed(port: tuple[int, Path]) -> None:
    """Entries go there and come back, larger than one TLS record."""
    number, folder = port
    tier = RedisTier(f"rediss://localhost:{number}?ssl_ca_certs={folder}/ours-ca.pem", timeout=5.0, connect_timeout=5.0)
    assert round_trip(tier) is not None
    tier.close()


@pytest.mark.parametrize("host, authority", [("localhost", "others"), ("127.0.0.1", "ours")])
def test_a_server_that_is_not_who_it_should_be(port: tuple[int, Path], host: str, authority: str) -> None:
    """Of an authority that we do not trust, or under another name: nothing is said to it, every look is a miss."""
    number, folder = port
    url = f"rediss://{host}:{number}?ssl_ca_certs={folder}/{authority}-ca.pem"
    tier = RedisTier(url, timeout=2.0, connect_timeout=2.0)
    assert round_trip(tier) is None
    assert tier.stats()["hits"] == 0
    tier.close()

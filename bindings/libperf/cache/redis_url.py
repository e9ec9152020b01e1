"""Where a Redis server is and how to speak to it: from a URL, or from a redis-py client that is there already."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import InvalidError

__all__ = ["Address", "address_of"]

FORMS = "redis://[user:password@]host[:port][/database], rediss:// (TLS), unix:///path/of.sock[?db=0]"


@dataclass(frozen=True)
class Address:
    """`path` is a unix socket's; without one it is host and port. repr() has no password."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"


def address_of(server: Any) -> Address:
    """Of a URL, or of a redis-py client, sync or async: the same server, user and database, in connections of our own."""
    if isinstance(server, Address):
        return server
    if isinstance(server, str):
        return _of_url(server)
    pool = getattr(server, "connection_pool", None)
    arguments = getattr(pool, "connection_kwargs", None)
    if not isinstance(arguments, Mapping):
        raise InvalidError(f"redis={type(server).__name__}: neither a URL ({FORMS}) nor a redis-py client")
    return _of_pool(pool, arguments)


def _number(text: str | None, what: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise InvalidError(f"{what} {text!r} in a Redis URL is not a number")
    return int(text)


# ---- URLs ----

_OPTIONS: dict[str, Callable[[str], tuple[str, Any]]] = {
    "db": lambda text: ("database", _number(text, "db", 0)),
    "username": lambda text: ("user", text),
    "password": lambda text: ("password", text),
    "ssl_ca_certs": lambda text: ("tls_ca", text),
    "ssl_certfile": lambda text: ("tls_cert", text),
    "ssl_keyfile": lambda text: ("tls_key", text),
}


def _of_url(url: str) -> Address:
    # nothing said here may hold the URL itself: there may be a password in it
    parts = urlsplit(url)
    found: dict[str, Any] = {}
    if parts.scheme == "unix":
        if not parts.path:
            raise InvalidError("a Redis URL unix:// without the path of a socket: unix:///run/redis.sock")
        found["path"] = unquote(parts.path)
    elif parts.scheme in ("redis", "rediss"):
        try:
            found["port"] = parts.port or 6379
        except ValueError:
            raise InvalidError("the port in a Redis URL is not a number up to 65535") from None
        found["host"] = parts.hostname or "localhost"
        found["tls"] = parts.scheme == "rediss"
        found["database"] = _number(unquote(parts.path).strip("/"), "database", 0)
    else:
        raise InvalidError(f"a Redis URL that begins with {parts.scheme!r}: one of {FORMS} is needed")
    found["user"] = unquote(parts.username) if parts.username else None
    found["password"] = unquote(parts.password) if parts.password else None
    for name, text in parse_qsl(parts.query):
        if name not in _OPTIONS:
            raise InvalidError(f"?{name}= in a Redis URL is not known: one of {', '.join(_OPTIONS)}")
        found.update([_OPTIONS[name](text)])
    if found["user"] and not found["password"]:
        raise InvalidError("a Redis URL with a user but no password")
    return Address(**found)


# ---- clients ----

_ARGUMENTS = {
    "host": "host",
    "port": "port",
    "path": "path",
    "username": "user",
    "password": "password",
    "db": "database",
    "ssl_ca_certs": "tls_ca",
    "ssl_certfile": "tls_cert",
    "ssl_keyfile": "tls_key",
}


def _of_pool(pool: Any, arguments: Mapping[str, Any]) -> Address:
    if arguments.get("credential_provider") is not None:
        raise InvalidError("a redis-py client with a credential_provider: give a URL with user and password instead")
    found = {own: arguments[theirs] for theirs, own in _ARGUMENTS.items() if arguments.get(theirs) is not None}
    found["port"] = int(found.get("port", 6379))
    found["database"] = int(found.get("database", 0))
    found["tls"] = any("SSL" in kind.__name__ for kind in getattr(pool, "connection_class", object).__mro__)
    if found["tls"] and arguments.get("ssl_cert_reqs") in ("none", 0):
        raise InvalidError(
            "a redis-py client with ssl_cert_reqs='none': libperf always checks the server's certificate"
        )
    return Address(**found)

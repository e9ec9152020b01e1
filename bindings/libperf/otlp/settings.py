"""Where to send, and how: arguments, then OpenTelemetry's environment variables, then defaults."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from ..errors import InvalidError

__all__ = ["SIGNALS", "Settings", "settle"]

SIGNALS = ("traces", "metrics", "logs")  # in the order of perf_otlp_signal
DEFAULT_ENDPOINT = "http://localhost:4318"
PROTOCOLS = ("http/protobuf", "http/json")
SECONDS_AT_MOST = 120  # a larger OTEL_EXPORTER_OTLP_TIMEOUT is meant in milliseconds

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Settings:
    """What an exporter is started with. Durations in seconds."""

    urls: dict[str, str]  # by signal
    headers: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)  # they may hold a key
    json: bool = False
    gzip: bool = False
    interval: float = 5.0
    metrics_interval: float = 60.0
    timeout: float = 10.0
    backoff: tuple[float, float] = (1.0, 30.0)
    max_queue_bytes: int = 32 << 20
    max_body_bytes: int = 0  # 0: the encoder's default
    certificate: str | os.PathLike[str] | None = None
    client_certificate: str | os.PathLike[str] | None = None
    client_key: str | os.PathLike[str] | None = None
    logs: str = "events"
    histograms: str = "exponential"
    resource: dict[str, str] = field(default_factory=dict)


def settle(
    *,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    interval: float = 5.0,
    protocol: str | None = None,
    metrics_interval: float = 60.0,
    signals: Iterable[str] | None = None,
    service: str | None = None,
    resource: Mapping[str, object] | None = None,
    timeout: float | None = None,
    compression: str | None = None,
    certificate: str | os.PathLike[str] | None = None,
    client_certificate: str | os.PathLike[str] | None = None,
    client_key: str | os.PathLike[str] | None = None,
    logs: str = "events",
    histograms: str = "exponential",
    max_queue_bytes: int = 32 << 20,
    max_body_bytes: int = 0,
    backoff: tuple[float, float] = (1.0, 30.0),
    environment: Environment,
) -> Settings:
    """The settings that follow; InvalidError names the value that makes no sense, and what would."""
    wanted = _signals(signals, environment)
    protocol = protocol or _get(environment, "EXPORTER_OTLP_PROTOCOL") or PROTOCOLS[0]
    compression = compression or _get(environment, "EXPORTER_OTLP_COMPRESSION") or "none"
    return Settings(
        urls={signal: _url(signal, endpoint, environment) for signal in wanted},
        headers={signal: _headers(signal, headers, environment) for signal in wanted},
        json=_one_of("protocol", protocol, PROTOCOLS) == "http/json",
        gzip=_one_of("compression", compression, ("none", "gzip")) == "gzip",
        interval=interval,
        metrics_interval=metrics_interval,
        timeout=_timeout(timeout, environment),
        backoff=_backoff(backoff),
        max_queue_bytes=_bytes("max_queue_bytes", max_queue_bytes),
        max_body_bytes=_bytes("max_body_bytes", max_body_bytes),
        certificate=certificate or _get(environment, "EXPORTER_OTLP_CERTIFICATE"),
        client_certificate=client_certificate or _get(environment, "EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        client_key=client_key or _get(environment, "EXPORTER_OTLP_CLIENT_KEY"),
        logs=_one_of("logs", logs, ("events", "records")),
        histograms=_one_of("histograms", histograms, ("exponential", "explicit")),
        resource=_resource(service, resource, environment),
    )


def _get(environment: Environment, name: str) -> str | None:
    """A variable that is empty counts as unset, as OpenTelemetry has it."""
    return environment.get(f"OTEL_{name}", "").strip() or None


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InvalidError(f"{name}={value!r} is none of: {', '.join(known)}")
    return value


def _bytes(name: str, value: int) -> int:
    if not isinstance(value, int) or value < 0:
        raise InvalidError(f"{name}={value!r} is not a number of bytes")
    return value


def _backoff(value: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(value, tuple) or len(value) != 2:
        raise InvalidError(f"backoff={value!r}: give the shortest and the longest time in seconds, such as (1.0, 30.0)")
    return value


def _signals(given: Iterable[str] | None, environment: Environment) -> list[str]:
    if given is not None:
        names = [given] if isinstance(given, str) else list(given)
        return [_one_of("signals", name, SIGNALS) for name in names]
    off = {signal for signal in SIGNALS if (_get(environment, f"{signal.upper()}_EXPORTER") or "").lower() == "none"}
    return [signal for signal in SIGNALS if signal not in off]


def _check_url(name: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidError(f"{name}={url!r} is not a URL such as {DEFAULT_ENDPOINT!r}")
    if parts.username or parts.password:
        shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        raise InvalidError(f"{name}: a user or password in the URL of {shown!r} would be logged: use headers=")
    return url


def _url(signal: str, endpoint: str | None, environment: Environment) -> str:
    """An endpoint is what paths are added to; one for a signal alone is used as it is."""
    own = _get(environment, f"EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    if endpoint is None and own:
        return _check_url(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", own)
    base = endpoint or _get(environment, "EXPORTER_OTLP_ENDPOINT") or DEFAULT_ENDPOINT
    parts = urlsplit(_check_url("endpoint", base))
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}"))


def _pairs(name: str, text: str) -> dict[str, str]:
    """ "key=value,key2=value2", values percent-encoded (W3C Baggage)."""
    found = {}
    for pair in filter(str.strip, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InvalidError(f"{name} is a list such as key=value,key2=value2; a part of it has no '='")
        found[unquote(key.strip())] = unquote(value.strip())
    return found


def _headers(signal: str, given: Mapping[str, str] | None, environment: Environment) -> dict[str, str]:
    if given is not None:
        return {str(name): str(value) for name, value in given.items()}
    for name in (f"EXPORTER_OTLP_{signal.upper()}_HEADERS", "EXPORTER_OTLP_HEADERS"):
        if text := _get(environment, name):
            return _pairs(f"OTEL_{name}", text)
    return {}


def _timeout(given: float | None, environment: Environment) -> float:
    """The specification says milliseconds, the SDK for Python reads seconds: no request has 120 milliseconds, none
    minutes."""
    if given is not None:
        return given
    text = _get(environment, "EXPORTER_OTLP_TIMEOUT")
    if text is None:
        return 10.0
    try:
        number = float(text)
        if not 0 < number < 1e9:
            raise ValueError
    except ValueError:
        raise InvalidError(f"OTEL_EXPORTER_OTLP_TIMEOUT={text!r} is not a number above 0") from None
    return number if number <= SECONDS_AT_MOST else number / 1000


def _resource(service: str | None, given: Mapping[str, object] | None, environment: Environment) -> dict[str, str]:
    found = {"telemetry.sdk.language": "python"}
    text = _get(environment, "RESOURCE_ATTRIBUTES")
    found |= _pairs("OTEL_RESOURCE_ATTRIBUTES", text) if text else {}
    for name, value in (given or {}).items():
        if not name:
            raise InvalidError("resource: an attribute has no name")
        found[str(name)] = str(value)
    called = service or _get(environment, "SERVICE_NAME")
    return found | ({"service.name": called} if called else {})

"""NodeCache and cache_key: LangGraph's cache of node results, on libperf's tiers.

>>> builder.add_node("plan", plan, cache_policy=CachePolicy(key_func=libperf.langgraph.cache_key, ttl=3600))
>>> graph = builder.compile(cache=libperf.langgraph.NodeCache(libperf.TieredCache(disk=True)))
"""

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from langchain_core.messages import BaseMessage, RemoveMessage
from langgraph.cache.base import BaseCache, FullKey, Namespace, ValueT

from ._codec import Unencodable, canonical
from .answers.sealed import Unsealable, seal, unseal
from .answers.storable import storable
from .cache import forms

__all__ = ["NodeCache", "cache_key", "cache_key_with_ids"]

logger = logging.getLogger("libperf")

_ALL = "libperf.langgraph"


class NodeCache(BaseCache[ValueT]):
    """What nodes wrote, from memory, disk or Redis.

    cache:   a TieredCache; without one, a new one in memory (its bounds: 1000 entries, 64 MB)
    name:    of what the entries belong to, for example the graph and its version ("support-agent 7"). LangGraph tells
             nodes apart by function and node name, which two graphs may share; of async nodes and callable objects by
             the node name alone. Give each graph that shares a cache a name of its own.
    scope:   whose results these are: a tenant never sees another one's

    A hit is made anew each time: nodes may change what they get. Types that only this program knows stay in memory,
    until libperf.cache.register_type() says how to store them. Not kept: answers of models that were cut off, filtered
    or failed, and removals of single messages. set() never raises, for LangGraph would fail the run; what was not kept,
    and why, is in stats().
    """

    def __init__(self, cache: Any = None, *, name: str = "", scope: Any = None, serde: Any = None) -> None:
        super().__init__(serde=serde)
        if cache is None:
            from .cache.tiered import TieredCache

            cache = TieredCache(namespace="langgraph")
        self.cache = cache
        self.name = name
        self._scope = {} if scope is None else {"scope": scope}
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    # ---- what LangGraph calls ----

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """Those that there are."""
        try:
            return self._open(keys, self.cache.get_many(self._places(keys), **self._scope))
        except Exception as error:
            return self._failed("get", error)

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        try:
            return self._open(keys, await self.cache.aget_many(self._places(keys), **self._scope))
        except Exception as error:
            return self._failed("aget", error)

    def set(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Keep values, each with its seconds; None: as the cache says."""
        for key, (value, ttl) in pairs.items():
            try:
                if self._is_kept(value):
                    self.cache.set(self._place(key), seal(value), **self._more(key, ttl))
                    self._count("stored")
            except Exception as error:
                self._failed("set", error)

    async def aset(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        for key, (value, ttl) in pairs.items():
            try:
                if self._is_kept(value):
                    await self.cache.aset(self._place(key), seal(value), **self._more(key, ttl))
                    self._count("stored")
            except Exception as error:
                self._failed("aset", error)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget what is in these namespaces, or everything of this name; takes as long however much that is."""
        for tag in self._tags(namespaces):
            self.cache.invalidate(tag=tag)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        for tag in self._tags(namespaces):
            await self.cache.ainvalidate(tag=tag)

    # ---- how ----

    def stats(self) -> dict[str, int]:
        """`hits`, `misses`, `stored`, `errors`; `unstorable`: could be neither encoded nor copied; `skipped_<reason>`."""
        with self._lock:
            return dict.fromkeys(("hits", "misses", "stored", "errors", "unstorable"), 0) | dict(self._counts)

    def _place(self, key: FullKey) -> str:
        namespace, name = key
        return "node:" + _joined((self.name, *namespace, name))

    def _places(self, keys: Sequence[FullKey]) -> list[str]:
        return [self._place(key) for key in keys]

    def _tag(self, namespace: Namespace) -> str:
        return f"{_ALL}:{_joined((self.name, *namespace))}"

    def _tags(self, namespaces: Sequence[Namespace] | None) -> list[str]:
        return [self._whole()] if namespaces is None else [self._tag(tuple(one)) for one in namespaces]

    def _whole(self) -> str:
        return f"{_ALL}={self.name}"

    def _more(self, key: FullKey, ttl: int | None) -> dict[str, Any]:
        more: dict[str, Any] = {"tags": (self._whole(), self._tag(tuple(key[0]))), **self._scope}
        return more if ttl is None else {**more, "ttl": ttl}

    def _is_kept(self, writes: Any) -> bool:
        reason = _refused(writes)
        if reason is not None:
            self._count(f"skipped_{reason}")
        return reason is None

    def _open(self, keys: Sequence[FullKey], found: Mapping[str, Any]) -> dict[FullKey, ValueT]:
        values: dict[FullKey, ValueT] = {}
        for key in keys:
            sealed = found.get(self._place(key))
            if sealed is not None:
                try:
                    values[key] = unseal(sealed)
                except Exception as error:
                    self._failed("get", error)
        with self._lock:
            self._counts["hits"] += len(values)
            self._counts["misses"] += len(keys) - len(values)
        return values

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def _failed(self, what: str, error: Exception) -> dict[FullKey, ValueT]:
        self._count("unstorable" if isinstance(error, Unsealable) else "errors")
        logger.debug("NodeCache.%s: %s", what, error)
        return {}


def _refused(writes: Any) -> str | None:
    """Why what a node wrote is not to be kept: an answer in it was cut off, or it removes a message by its id, which
    another conversation has not ("removal"). Answers that ask for tools are what a node with a CachePolicy is for."""
    for write in writes if isinstance(writes, list | tuple | deque) else ():
        value = write[1] if isinstance(write, list | tuple) and len(write) == 2 else None
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, RemoveMessage):
                if not str(one.id).startswith("__"):  # "__remove_all__"
                    return "removal"
            elif (reason := storable(one, pure_tools=True)) is not None:
                return reason
    return None


def _joined(parts: Sequence[str]) -> str:
    """One text for these: no two lists of parts have the same."""
    return "".join(f"{len(part)}:{part}" for part in parts)


# ---- keys of a node's input ----


def cache_key(*args: Any, **kwargs: Any) -> bytes:
    """For CachePolicy(key_func=...), or @libperf.cached(key=...) of a function that takes messages: equal inputs have
    equal keys, in every process and on every run.

    The order of dicts and sets means nothing, types do (1, 1.0 and "1" differ). Of messages what was said counts, not
    their ids, which are new on each run, nor what they cost: use cache_key_with_ids for a node that edits or removes
    messages by their ids. An input of something without a canonical form gets a key that is never met again: such a
    node runs each time, and the log says once what it was.
    """
    return _key(args, kwargs, _form)


def cache_key_with_ids(*args: Any, **kwargs: Any) -> bytes:
    """The same, with the ids of messages."""
    return _key(args, kwargs, _form_with_ids)


def _key(args: tuple[Any, ...], kwargs: dict[str, Any], form: Any) -> bytes:
    try:
        return blake2b(canonical((args, kwargs), form), digest_size=32).digest()
    except Unencodable as error:
        _say_once(str(error))
        return os.urandom(32)


# What differs between two runs in which the same was said.
_OF_A_RUN = frozenset({"id", "usage_metadata"})
_OF_A_CALL = frozenset(
    {"created", "created_at", "headers", "id", "request_id", "system_fingerprint", "token_usage", "usage"}
)
_said: set[str] = set()


def _say_once(problem: str) -> None:
    if problem not in _said and len(_said) < 100:
        _said.add(problem)
        logger.warning("a node is not cached: %s", problem)


def _form(value: object) -> tuple[str, object] | None:
    if isinstance(value, BaseMessage):
        return _message(value, frozenset() if isinstance(value, RemoveMessage) else _OF_A_RUN)
    return _form_with_ids(value)


def _form_with_ids(value: object) -> tuple[str, object] | None:
    if isinstance(value, BaseMessage):
        return _message(value, _OF_A_RUN - {"id"})
    fields = getattr(type(value), "__pydantic_fields__", None)
    if fields is not None and not isinstance(value, type):
        return _model(value)
    return forms.extend(value)


def _message(message: BaseMessage, left_out: frozenset[str]) -> tuple[str, object]:
    """What was said. What is None or empty says nothing, so a default counts as much as nothing given."""
    fields = {name: value for name, value in message.__dict__.items() if value and name not in left_out}
    if message.__pydantic_extra__:
        fields.update(message.__pydantic_extra__)
    told = fields.pop("response_metadata", None)
    if told and (kept := _without(told, _OF_A_CALL)):
        fields["response_metadata"] = kept
    if isinstance(message.content, str):
        fields["content"] = str.__str__(message.content)  # message.text is a class of its own
    return type(message).__qualname__, fields


def _without(fields: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _model(value: Any) -> tuple[str, object]:
    """A model's values, whether they were given or are its defaults: as its == has it."""
    return forms.name_of(type(value)), {**value.__dict__, **(value.__pydantic_extra__ or {})}

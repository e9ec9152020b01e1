"""LLMCache: LangChain's cache of model answers, on libperf's tiers. Use it as libperf.langchain.LLMCache.

>>> from langchain_core.globals import set_llm_cache
>>> set_llm_cache(libperf.langchain.LLMCache(libperf.TieredCache(disk=True)))

LangChain asks it before each call of a model, in the thread or task of the call; streams do not come by here.
"""

import ast
import json
import logging
import re
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from ..answers.rules import Skips
from ..answers.sealed import Unsealable, seal, unseal
from ..answers.storable import refused_generation

__all__ = ["LLMCache"]

logger = logging.getLogger("libperf")

_TAG = "libperf.langchain"
_RUN_ID = re.compile(r"(?:lc_)?run-")  # ids that LangChain gives to a message of one run


class LLMCache(BaseCache):
    """Answers of LangChain's models, from memory, disk or Redis.

    cache:             a TieredCache; without one, a new one in memory
    ttl:               seconds that an answer is good for; None: as the cache says
    scope:             whose answers these are: a tenant never sees another one's
    nondeterministic:  keep one sample even where temperature is not 0
    pure_tools:        True, or names of tools: answers that ask for them may be kept

    The key is the model's whole configuration and the whole prompt, but for what says nothing to the model: ids of
    messages, and what earlier answers cost. (LangChain itself writes `total_cost: 0` into an answer from a cache: with
    that in the key the second turn of a conversation would never be found again.)
    Not kept: what libperf.answers.rules lists. Of models that do not tell their temperature, everything complete is kept.
    An answer is made anew for each caller; an id that named the run it came from is left out, for LangGraph takes two
    messages of one id for one message. Nothing here raises; what went wrong is counted in stats().
    """

    def __init__(
        self,
        cache: Any = None,
        *,
        ttl: float | None = None,
        scope: Any = None,
        nondeterministic: bool = False,
        pure_tools: bool | Collection[str] = False,
    ) -> None:
        if cache is None:
            from ..cache.tiered import TieredCache

            cache = TieredCache(namespace="langchain")
        self.cache = cache
        self._nondeterministic, self._pure_tools = nondeterministic, pure_tools
        self._scope = {} if scope is None else {"scope": scope}
        self._set = {**self._scope, "tags": (_TAG,), **({} if ttl is None else {"ttl": ttl})}
        self._skips = Skips("libperf.langchain.LLMCache", cache.name)

    # ---- what LangChain calls ----

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        try:
            return self._open(self.cache.get(_key(prompt, llm_string), **self._scope))
        except Exception as error:
            self._failed("lookup", error)
            return None

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        try:
            return self._open(await self.cache.aget(_key(prompt, llm_string), **self._scope))
        except Exception as error:
            self._failed("alookup", error)
            return None

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        try:
            sealed = self._seal(llm_string, return_val)
            if sealed is not None:
                self.cache.set(_key(prompt, llm_string), sealed, **self._set)
        except Exception as error:
            self._failed("update", error)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        try:
            sealed = self._seal(llm_string, return_val)
            if sealed is not None:
                await self.cache.aset(_key(prompt, llm_string), sealed, **self._set)
        except Exception as error:
            self._failed("aupdate", error)

    def clear(self, **kwargs: Any) -> None:
        """Forget LangChain's answers; others in the same cache stay."""
        self.cache.invalidate(tag=_TAG)

    async def aclear(self, **kwargs: Any) -> None:
        await self.cache.ainvalidate(tag=_TAG)

    # ---- how ----

    def stats(self) -> dict[str, int]:
        """Answers `stored`, and `skipped_<reason>` for each reason there was; hits are in the cache's get_stats()."""
        return self._skips.stats()

    def _seal(self, llm_string: str, generations: Sequence[Generation]) -> Any:
        reason = self._refused(llm_string, generations)
        if reason is None:
            try:
                sealed = seal([_without_run_id(generation) for generation in generations])
            except Unsealable:
                reason = "unencodable"
            else:
                self._skips.kept()
                return sealed
        self._skips.count(reason)
        return None

    def _refused(self, llm_string: str, generations: Sequence[Generation]) -> str | None:
        for generation in generations:
            reason = refused_generation(generation, self._pure_tools)
            if reason is not None:
                return reason
        if not generations:
            return "empty"
        if self._nondeterministic or _temperature(llm_string) in (0, None):
            return None
        return "temperature"

    def _open(self, sealed: Any) -> list[Generation] | None:
        return None if sealed is None else list(unseal(sealed))

    def _failed(self, what: str, error: Exception) -> None:
        self._skips.count("error")
        logger.debug("LLMCache.%s: %s", what, error)


def _key(prompt: str, llm_string: str) -> bytes:
    """What tells this call from others."""
    hash_ = blake2b(digest_size=32)
    for part in (llm_string, _told(prompt)):
        data = part.encode("utf-8", "surrogatepass")
        hash_.update(len(data).to_bytes(8, "little") + data)
    return b"langchain" + hash_.digest()


def _told(prompt: str) -> str:
    """The prompt without what the model is not told of its messages."""
    if not (prompt.startswith("[{") and ('"usage_metadata"' in prompt or '"id": "' in prompt)):
        return prompt
    try:
        messages = json.loads(prompt)
        for message in messages:
            for name in ("id", "usage_metadata"):
                message["kwargs"].pop(name, None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return prompt  # not LangChain's own form: every letter counts
    return json.dumps(messages)


_SET_TO = re.compile(r"\('temperature', ([^)]+)\)")


def _temperature(llm_string: str) -> float | None:
    """What a model's configuration says of its temperature: inf when it has one that is not set to a number, None when
    it says nothing of it.

    The string is JSON of the model followed by "---" and the call's own parameters; or those of both as one list."""
    call = [match for match in _SET_TO.findall(llm_string) if match != "None"]
    if call:
        try:
            return float(ast.literal_eval(call[-1]))
        except (ValueError, SyntaxError, TypeError):
            return float("inf")
    try:
        model, _ = json.JSONDecoder().raw_decode(llm_string)
        settings = model["kwargs"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(settings, dict):
        return None
    value = settings.get("temperature")
    return float(value) if isinstance(value, int | float) else float("inf")


def _without_run_id(generation: Generation) -> Generation:
    message = getattr(generation, "message", None)
    if message is None or not _RUN_ID.match(message.id or ""):
        return generation
    return generation.model_copy(update={"message": message.model_copy(update={"id": None})})

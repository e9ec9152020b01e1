"""The wrapper that `@cached` puts around a function, made to measure: it takes the function's own parameters.

So Python itself does what is expensive to do by hand: f(1, b=2) and f(a=1, b=2) become one key, defaults are filled in, and
a wrong call is a TypeError as before. For `def user(name, lang="en")` the source is, but for the names,

    def wrapper(name, lang=None):
        if type(name) in plain and type(lang) in plain:
            value = get((name, lang))
            if value is not missing:
                return value
        return slow((name, lang), (name, lang), {})

and, where there is no tier but memory,

    def wrapper(name, lang=None):
        return look(name, lang)

which is the same in C (`libperf._memory.Look`). The key of a single parameter is the argument itself, of several ones their tuple; of a callable whose parameters cannot be
known, the tuple of the positional ones, or a dict when there are others.
"""

import types
from collections.abc import Callable
from typing import Any

from .._memory import Look, Table
from .flow import MISSING, Flow
from .places import PLAIN_IN_TUPLES

__all__ = ["Parameters", "make_wrapper"]

CO_VARARGS, CO_VARKEYWORDS = 0x04, 0x08

HIT = """\
    if {test}:
        libperf_value = libperf_get({place})
        if libperf_value is not libperf_missing:
            return libperf_value
"""


class Parameters:
    """How a function is called, as pieces of source."""

    def __init__(self, function: Any) -> None:
        code = function.__code__ if isinstance(function, types.FunctionType) else None
        self.known = code is not None
        if code is None:
            self.declared, self.positional, self.keyword = "*args, **kwargs", "(*args,)", "kwargs"
            self.key = "args if not kwargs else {'args': args, 'kwargs': kwargs}"
            self.single = self.plain = None
            self.by_place = False
            self.defaults: Any = None
            self.keyword_defaults: Any = None
            return
        names = code.co_varnames
        count, named_only = code.co_argcount, code.co_kwonlyargcount
        free, only = names[:count], names[count : count + named_only]
        rest = list(names[count + named_only :])
        star = rest.pop(0) if code.co_flags & CO_VARARGS else None
        stars = rest.pop(0) if code.co_flags & CO_VARKEYWORDS else None
        self.defaults, self.keyword_defaults = function.__defaults__, function.__kwdefaults__
        self.declared = ", ".join(self._declare(code.co_posonlyargcount, free, star, only, stars))
        self.positional = "(" + "".join(f"{name}, " for name in free) + (f"*{star}," if star else "") + ")"
        pairs = [f"{name!r}: {name}" for name in only] + ([f"**{stars}"] if stars else [])
        self.keyword = "{" + ", ".join(pairs) + "}"
        every = [*free, *([star] if star else []), *only, *([stars] if stars else [])]
        self.single = every[0] if len(every) == 1 and not star and not stars else None
        self.key = self.single or "(" + "".join(f"{name}, " for name in every) + ")"
        self.by_place = bool(free) and every == [*free]  # nothing is given by name alone
        # a tuple or dict among the parts is looked up in its canonical form
        self.plain = None if star or stars or not every else [*every]

    def _declare(self, posonly: int, free: Any, star: str | None, only: Any, stars: str | None) -> list[str]:
        first_default = len(free) - len(self.defaults or ())
        found = []
        for number, name in enumerate(free):
            found.append(f"{name}=None" if number >= first_default else name)
            if number + 1 == posonly:
                found.append("/")
        if star:
            found.append(f"*{star}")
        elif only:
            found.append("*")
        found += [f"{name}=None" if name in (self.keyword_defaults or {}) else name for name in only]
        if stars:
            found.append(f"**{stars}")
        return found


def make_wrapper(
    function: Any,
    flow: Flow | None,
    slow: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any],
    *,
    awaits: bool,
    key_function: Callable[..., Any] | None = None,
) -> Any:
    """slow(key, args, kwargs) is what the wrapper ends in; flow: whose memory it looks into before, None: none."""
    parameters = Parameters(function)
    key = parameters.key
    if flow is not None and not awaits and not key_function and parameters.by_place and _has_table_only(flow):
        return _look_in_c(function, parameters, Look(flow.memory.table, slow))
    if key_function is not None:
        key = f"libperf_key_of(*{parameters.positional}, **{parameters.keyword})"
    lines = [f"{'async ' if awaits else ''}def wrapper({parameters.declared}):"]
    unchanged = ""
    if flow is not None:
        unchanged = "".join(
            f" and libperf_tiers[{n}].change_word[0] == libperf_seen[{n}]" for n in range(len(flow.tiers))
        )
    if flow is not None and (key_function is not None or parameters.single):
        lines.append(f"    libperf_key = {key}")
        lines.append(
            HIT.format(
                test=f"(type(libperf_key) is str or type(libperf_key) is int){unchanged}", place="libperf_key"
            ).rstrip()
        )
        key = "libperf_key"
    elif flow is not None and parameters.plain and len(parameters.plain) <= 8:
        test = " and ".join(f"type({name}) in libperf_plain" for name in parameters.plain)
        lines.append(HIT.format(test=test + unchanged, place=key).rstrip())
    call = f"libperf_slow({key}, {parameters.positional}, {parameters.keyword})"
    lines.append(f"    return {'await ' if awaits else ''}{call}")
    names = [
        "libperf_get",
        "libperf_missing",
        "libperf_slow",
        "libperf_key_of",
        "libperf_plain",
        "libperf_tiers",
        "libperf_seen",
    ]
    hot = (flow.memory.table.get, flow.tiers, flow.seen) if flow is not None else (None, (), [])
    values = (hot[0], MISSING, slow, key_function, PLAIN_IN_TUPLES, *hot[1:])
    return _compiled(function, parameters, lines, dict(zip(names, values, strict=True)))


def _has_table_only(flow: Flow) -> bool:
    """Of objects, in C: what is not in it has to be computed."""
    return not flow.tiers and type(flow.memory.table) is Table


def _look_in_c(function: Any, parameters: Parameters, look: Look) -> Any:
    names = parameters.plain or ()
    lines = [f"def wrapper({parameters.declared}):", f"    return libperf_look({', '.join(names)})"]
    return _compiled(function, parameters, lines, {"libperf_look": look.one if len(names) == 1 else look.several})


def _compiled(function: Any, parameters: Parameters, lines: list[str], values: dict[str, Any]) -> Any:
    body = "\n".join("    " + line for text in lines for line in text.split("\n"))
    source = f"def make({', '.join(values)}):\n{body}\n    return wrapper\n"
    scope: dict[str, Any] = {}
    exec(compile(source, f"<libperf.cached {getattr(function, '__qualname__', function)!s}>", "exec"), scope)
    wrapper = scope["make"](**values)
    wrapper.__defaults__ = parameters.defaults
    wrapper.__kwdefaults__ = parameters.keyword_defaults
    return wrapper

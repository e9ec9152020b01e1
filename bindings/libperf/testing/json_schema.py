"""A value that validates against a JSON Schema, drawn from a seeded generator.

`schema_value` is what MockLLM answers structured-output requests and fills tool arguments with. It builds a value from
a plan (references and combiners merged into one schema, see schema_merge.py), checks it (json_check.py), and draws
again when the check fails. Recursive schemas end: past a few levels only what is required is built, along the branch
that ends soonest. Defaults and examples in the schema are liked, and so are words and numbers from the conversation.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

from .json_check import (
    SchemaError,
    array_rules,
    dependent_names,
    dependent_schemas,
    first_problem,
    is_type,
    pattern_found,
    property_schemas,
    resolve,
    same_json,
)
from .pattern import PatternError, sample_pattern
from .schema_merge import COMBINERS, DeadEnd, Depths, merged
from .schema_scalars import Scalars
from .text import numbers_in, subject_words

_DEEP = 4  # levels after which only the necessary is built
_DEEPEST = 64  # levels after which the schema is taken to have no finite value
_ROOMY = 300  # subvalues after which only the necessary is built
_MOST_WORK = 20_000  # subvalues after which the search gives up
_DRAWS = 40  # tries for one subschema before its parent is drawn again

# A first draw under these keywords can miss; under the others it holds by construction.
_CHANCY = frozenset(
    {"anyOf", "oneOf", "allOf", "not", "if", "pattern", "uniqueItems", "contains", "multipleOf", "propertyNames"}
    | {"minProperties", "patternProperties", "dependentRequired", "dependentSchemas", "dependencies", "$ref"}
)


def schema_value(schema: Any, *, seed: int | random.Random = 0, text: str = "") -> Any:
    """A JSON value that validates against `schema`.

    Args:
        schema: A JSON Schema (draft 4 to 2020-12 spelling): a dict, or True for anything.
        seed: The same seed, schema and text give the same value. A ``random.Random`` is drawn from directly.
        text: Text whose words and numbers are preferred for string and number fields.

    Raises:
        SchemaError: The schema is malformed, has a ``$ref`` to the outside, or no value was found; the message says
            which part.

    Safe to call from many threads (with an integer seed).
    """
    rng = seed if isinstance(seed, random.Random) else random.Random(seed)
    try:
        return _Builder(schema, rng, text).build()
    except DeadEnd as error:
        raise SchemaError(f"no value fits the schema ({error})") from error
    except (TypeError, AttributeError, KeyError, RecursionError) as error:
        raise SchemaError(f"the schema is malformed: {type(error).__name__}: {error}") from error


class _Builder:
    """One walk from a schema to a value."""

    def __init__(self, root: Any, rng: random.Random, text: str) -> None:
        self._root = root
        self._rng = rng
        self._scalars = Scalars(rng, subject_words(text), numbers_in(text))
        self._depths: Depths | None = None
        self._built = 0
        self._makers: dict[str, Callable[[dict[str, Any], str, int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": lambda plan, name, depth: self._scalars.integer(plan),
            "number": lambda plan, name, depth: self._scalars.number(plan),
            "boolean": lambda plan, name, depth: self._chance(0.5),
            "null": lambda plan, name, depth: None,
        }

    def build(self) -> Any:
        return self._value(self._root, "", 0, sure=True)

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _pick(self, options: list[Any]) -> Any:
        return options[int(self._rng.random() * len(options))]

    def _tight(self, depth: int) -> bool:
        return depth > _DEEP or self._built > _ROOMY

    def _depth_of(self, schema: Any) -> float:
        if self._depths is None:
            self._depths = Depths(self._root)
        return self._depths.of(schema)

    def _value(self, schema: Any, name: str, depth: int, sure: bool = False) -> Any:
        """A value for `schema`; drawn again while the check fails, as far as that can help."""
        if schema is True or schema == {}:
            return self._scalars.string({}, name)
        if not isinstance(schema, dict):
            raise DeadEnd("nothing is allowed here") if schema is False else TypeError(f"{schema!r:.60} is no schema")
        self._built += 1
        if depth > _DEEPEST or self._built > _MOST_WORK:
            raise SchemaError(f"no finite value found: {name or 'the schema'!r} seems to need itself")
        problem = "no draw succeeded"
        for draw in range(_DRAWS if sure or not _CHANCY.isdisjoint(schema) else 1):
            self._scalars.plain = draw >= 5  # what the conversation offers may be the very thing forbidden
            try:
                value = self._draw(schema, name, depth)
                problem = first_problem(value, schema, self._root) or ""
            except DeadEnd as error:
                problem = str(error)
            except PatternError as error:
                raise SchemaError(f"{name or 'the schema'!r}: {error}") from None
            if not problem:
                return value
        if sure or depth == 0:
            raise SchemaError(f"no value found that fits the schema ({problem})")
        raise DeadEnd(f"{name}: {problem}" if name else problem)

    def _draw(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        plan = self._plan(schema, depth)
        if "const" in plan:
            return plan["const"]
        if "enum" in plan:
            rest = {key: rule for key, rule in plan.items() if key != "enum"}
            fitting = [option for option in plan["enum"] if first_problem(option, rest, self._root) is None]
            if not fitting:
                raise DeadEnd("no member of the enum fits")
            return self._pick(fitting)
        suggested = [plan["default"]] if "default" in plan else list(plan.get("examples", ()))
        if suggested and self._chance(0.75):
            value = self._pick(suggested)
            if first_problem(value, plan, self._root) is None:
                return value
        return self._makers[self._kind(plan, depth)](plan, name, depth)

    # -- plans: one flat schema out of references and combiners ---------------------------------------------------

    def _plan(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        plan: dict[str, Any] = {}
        todo: list[Any] = [schema]
        for _ in range(500):
            if not todo:
                return plan
            part = todo.pop(0)
            if part is True:
                continue
            if part is False:
                raise DeadEnd("nothing is allowed here")
            plan = merged(plan, {key: rule for key, rule in part.items() if key not in COMBINERS})
            todo += self._pulled_in(part, depth)
            todo += [
                rule
                for key, rule in dependent_schemas(part).items()
                if key in (part.get("required") or ()) and rule is not None
            ]
        raise SchemaError("the schema refers to itself without end")

    def _pulled_in(self, part: dict[str, Any], depth: int) -> Iterator[Any]:
        """The subschemas that must hold beside `part` itself, after choosing among alternatives."""
        if "$ref" in part:
            yield resolve(self._root, part["$ref"])
        yield from part.get("allOf", ())
        for key in ("anyOf", "oneOf"):
            if part.get(key):
                yield self._branch(part[key], depth)
        if "if" in part:
            if self._chance(0.5):
                yield part["if"]
                yield part.get("then", True)
            else:
                yield part.get("else", True)

    def _branch(self, options: list[Any], depth: int) -> Any:
        if self._tight(depth):
            return min(options, key=self._depth_of)
        telling = [option for option in options if not (isinstance(option, dict) and option.get("type") == "null")]
        return self._pick(telling) if telling and self._chance(0.9) else self._pick(options)

    def _kind(self, plan: dict[str, Any], depth: int) -> str:
        kinds = plan.get("type")
        if isinstance(kinds, list):
            simple = [kind for kind in kinds if kind not in ("object", "array")] if self._tight(depth) else []
            telling = [kind for kind in simple or kinds if kind != "null"]
            kinds = self._pick(telling) if telling and self._chance(0.9) else self._pick(simple or kinds)
        if kinds is None:
            kinds = _implied_type(plan)
        if kinds not in self._makers:
            is_type(None, kinds)  # raises SchemaError with the list of types
        return str(kinds)

    # -- makers -----------------------------------------------------------------------------------------------

    def _string(self, plan: dict[str, Any], name: str, depth: int) -> str:
        if "pattern" in plan:
            wanted = self._scalars.string(plan, name)  # a word may fit by luck, and reads better
            if pattern_found(plan["pattern"], wanted) and "\\p{" not in plan["pattern"]:
                return wanted
            return sample_pattern(plan["pattern"], self._rng, plan.get("minLength", 0), plan.get("maxLength"))
        return self._scalars.string(plan, name)

    def _array(self, plan: dict[str, Any], name: str, depth: int) -> list[Any]:
        first, rest = array_rules(plan)
        least = max(plan.get("minItems", 0), len(first) if not self._tight(depth) else 0)
        most = min(plan.get("maxItems", math.inf), math.inf if rest is not False else len(first))
        spread = 0 if self._tight(depth) else int(self._rng.random() * 3) + (least == 0)
        length = int(min(least + spread, most))
        must_hold = plan.get("minContains", 1) if "contains" in plan else 0
        length = max(length, must_hold)
        items: list[Any] = []
        for at in range(length):
            rule = first[at] if at < len(first) else rest
            if length - at <= must_hold:
                rule = {"allOf": [rule, plan["contains"]]}
            item = self._fresh_item(rule, name, depth, items if plan.get("uniqueItems") else [])
            if item is _NO_MORE:
                break
            items.append(item)
        return items

    def _fresh_item(self, rule: Any, name: str, depth: int, taken: list[Any]) -> Any:
        for _ in range(_DRAWS if taken else 1):
            item = self._value(rule, name, depth + 1)
            if not any(same_json(item, other) for other in taken):
                return item
        return _NO_MORE

    def _object(self, plan: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        properties = plan.get("properties", {})
        required = plan["required"] if isinstance(plan.get("required"), list) else []
        most = plan.get("maxProperties", math.inf)
        chosen = dict.fromkeys(required)
        optional = [key for key, rule in properties.items() if key not in chosen and rule is not False]
        optional = [key for key in optional if key not in dependent_schemas(plan)]
        least = plan.get("minProperties", 0)
        for at, key in enumerate(optional):
            short = least - len(chosen) >= len(optional) - at
            if short or (len(chosen) < most and not self._tight(depth) and self._chance(0.6)):
                chosen[key] = None
        for key, others in dependent_names(plan).items():
            if key in chosen:
                chosen.update(dict.fromkeys(others))
        free = not properties and not self._tight(depth)
        wanted = max(least, len(chosen) + (1 + int(self._rng.random() * 2) if free and _is_open(plan) else 0))
        for key in self._invented_names(plan, chosen):
            if len(chosen) >= min(wanted, most):
                break
            chosen.setdefault(key)
        order = [key for key in properties if key in chosen] + [key for key in chosen if key not in properties]
        return {key: self._member(key, plan, depth) for key in order}

    def _member(self, key: str, plan: dict[str, Any], depth: int) -> Any:
        rules = property_schemas(key, plan)
        return self._value(rules[0] if len(rules) == 1 else {"allOf": rules}, key, depth + 1)

    def _invented_names(self, plan: dict[str, Any], taken: dict[str, Any]) -> Iterator[str]:
        """Names for properties the schema leaves open: from its patterns, its name rule, or plain words."""
        patterns = list(plan.get("patternProperties", {}))
        for at in range(_DRAWS):
            if patterns:
                name = sample_pattern(self._pick(patterns), self._rng)
            elif plan.get("additionalProperties") is False:
                return
            elif "propertyNames" in plan:
                name = str(self._value({"allOf": [{"type": "string"}, plan["propertyNames"]]}, "name", 0))
            else:
                name = self._scalars.word().lower() + ("" if at < 10 else str(at))
            if name not in taken:
                yield name


_NO_MORE = object()


def _is_open(plan: dict[str, Any]) -> bool:
    """Whether an object without named properties is meant to be filled: a mapping rather than an empty object."""
    return isinstance(plan.get("additionalProperties"), dict) or bool(plan.get("patternProperties"))


def _implied_type(plan: dict[str, Any]) -> str:
    """The type a schema without `type` talks about, told by its keywords."""
    hints = (
        ("object", ("properties", "required", "additionalProperties", "patternProperties", "minProperties")),
        ("array", ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains")),
        ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
    )
    return next((kind for kind, keywords in hints if not plan.keys().isdisjoint(keywords)), "string")

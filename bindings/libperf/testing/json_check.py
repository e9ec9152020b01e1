"""Does a JSON value obey a JSON Schema? The check behind json_schema.py, and a help in tests.

Covers the keywords an LLM API sees: types, enums, bounds, objects, arrays, references inside the document, and the
combining keywords. `format` is not checked, unknown keywords pass, as the standard asks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote


class SchemaError(ValueError):
    """The schema is malformed, points outside itself, or no value was found for it."""


def resolve(root: Any, reference: str) -> Any:
    """The subschema a ``$ref`` such as ``#/$defs/Item`` names inside `root`."""
    if reference == "#":
        return root
    if not reference.startswith("#"):
        raise SchemaError(f"$ref {reference!r} points outside the schema: move its target under $defs")
    if not reference.startswith("#/"):
        found = _find_anchor(root, reference[1:])
        if found is None:
            raise SchemaError(f"$ref {reference!r} names no $anchor of the schema")
        return found
    here = root
    for part in reference[2:].split("/"):
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        try:
            here = here[int(key)] if isinstance(here, list) else here[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise SchemaError(f"$ref {reference!r} names nothing: the schema has no {key!r} there") from None
    return here


def _find_anchor(node: Any, name: str) -> Any:
    if isinstance(node, dict) and node.get("$anchor") == name:
        return node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return next((hit for child in children if (hit := _find_anchor(child, name)) is not None), None)


def first_problem(value: Any, schema: Any, root: Any = None) -> str | None:
    """What is wrong with `value` under `schema`, in a few words, or None when it is valid.

    `root` is the document that ``$ref`` starts from (the schema itself when left out). Raises SchemaError for a
    reference that leads nowhere or only to itself.
    """
    try:
        return _problem(value, schema, schema if root is None else root)
    except RecursionError:
        raise SchemaError("the schema refers to itself without end") from None


def same_json(one: Any, other: Any) -> bool:
    """Equality as JSON has it: 1 equals 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    return bool(one == other)


def is_type(value: Any, name: str) -> bool:
    """Whether `value` is of the JSON Schema type `name`."""
    if name == "integer":
        return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value % 1 == 0))
    if name == "number":
        return not isinstance(value, bool) and isinstance(value, int | float)
    if name == "null":
        return value is None
    kinds: dict[str, type] = {"string": str, "boolean": bool, "object": dict, "array": list}
    if name not in kinds:
        raise SchemaError(f"unknown type {name!r}: use string, number, integer, boolean, object, array or null")
    return isinstance(value, kinds[name])


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None


def pattern_found(pattern: str, text: str) -> bool:
    """Whether `pattern` occurs in `text`; true for a pattern this regular-expression engine cannot read."""
    compiled = _compiled(pattern)
    return compiled is None or compiled.search(text) is not None


def _problem(value: Any, schema: Any, root: Any) -> str | None:
    if schema is True:
        return None
    if schema is False:
        return "nothing is allowed here"
    if not isinstance(schema, dict):
        raise SchemaError(f"a schema must be an object or a boolean, not {schema!r:.60}")
    for check in _CHECKS:
        problem = check(value, schema, root)
        if problem is not None:
            return problem
    return None


def _check_plain(value: Any, schema: dict[str, Any], root: Any) -> str | None:
    kinds = schema.get("type")
    if kinds is not None:
        names = kinds if isinstance(kinds, list) else [kinds]
        if not any(is_type(value, name) for name in names):
            return f"{value!r:.60} is not of type {' or '.join(map(str, names))}"
    if "const" in schema and not same_json(value, schema["const"]):
        return f"{value!r:.60} is not the constant"
    if "enum" in schema and not any(same_json(value, option) for option in schema["enum"]):
        return f"{value!r:.60} is not in the enum"
    return None


def _check_number(value: Any, schema: dict[str, Any], root: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high = schema.get("minimum"), schema.get("maximum")
    under, over = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if under is True:  # the boolean form of draft 4
        under = low
    if over is True:
        over = high
    if (low is not None and value < low) or (under not in (None, False) and value <= under):
        return f"{value} is too small"
    if (high is not None and value > high) or (over not in (None, False) and value >= over):
        return f"{value} is too large"
    step = schema.get("multipleOf")
    if step is not None and (value % step if isinstance(step, int) else (value / step) % 1):
        return f"{value} is not a multiple of {step}"
    return None


def _check_string(value: Any, schema: dict[str, Any], root: Any) -> str | None:
    if not isinstance(value, str):
        return None
    if len(value) < schema.get("minLength", 0):
        return "the string is too short"
    if len(value) > schema.get("maxLength", len(value)):
        return "the string is too long"
    if "pattern" in schema and not pattern_found(schema["pattern"], value):
        return f"{value!r:.60} does not match {schema['pattern']!r}"
    return None


def array_rules(schema: dict[str, Any]) -> tuple[list[Any], Any]:
    """(schemas of the first items, schema of the rest), whichever draft spelled them."""
    items = schema.get("items", True)
    if isinstance(items, list):
        return items, schema.get("additionalItems", True)
    return list(schema.get("prefixItems", [])), items


def _check_array(value: Any, schema: dict[str, Any], root: Any) -> str | None:
    if not isinstance(value, list):
        return None
    if len(value) < schema.get("minItems", 0):
        return "the array is too short"
    if len(value) > schema.get("maxItems", len(value)):
        return "the array is too long"
    if schema.get("uniqueItems") and any(
        same_json(item, other) for at, item in enumerate(value) for other in value[:at]
    ):
        return "the items are not unique"
    first, rest = array_rules(schema)
    for at, item in enumerate(value):
        problem = _problem(item, first[at] if at < len(first) else rest, root)
        if problem is not None:
            return f"[{at}]: {problem}"
    if "contains" in schema:
        hits = sum(_problem(item, schema["contains"], root) is None for item in value)
        if not schema.get("minContains", 1) <= hits <= schema.get("maxContains", hits):
            return f"{hits} items match `contains`"
    return None


def property_schemas(name: str, schema: dict[str, Any]) -> list[Any]:
    """Every subschema that the property `name` of an object under `schema` must obey."""
    rules = [schema["properties"][name]] if name in schema.get("properties", {}) else []
    rules += [rule for pattern, rule in schema.get("patternProperties", {}).items() if pattern_found(pattern, name)]
    return rules or [schema.get("additionalProperties", True)]


def dependent_names(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Property names that must come with others, in the old spelling (``dependencies``) or the new."""
    old = schema.get("dependencies", {})
    return {**{k: v for k, v in old.items() if isinstance(v, list)}, **schema.get("dependentRequired", {})}


def dependent_schemas(schema: dict[str, Any]) -> dict[str, Any]:
    """Schemas the object must obey when it has a property, in the old spelling (``dependencies``) or the new."""
    old = schema.get("dependencies", {})
    return {**{k: v for k, v in old.items() if not isinstance(v, list)}, **schema.get("dependentSchemas", {})}


def _check_object(value: Any, schema: dict[str, Any], root: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    if len(value) < schema.get("minProperties", 0):
        return "too few properties"
    if len(value) > schema.get("maxProperties", len(value)):
        return "too many properties"
    needed = set(schema.get("required", ())) if isinstance(schema.get("required"), list) else set()
    for name, others in dependent_names(schema).items():
        needed |= set(others) if name in value else set()
    missing = sorted(needed - value.keys())
    if missing:
        return f"{missing[0]!r} is missing"
    for name, item in value.items():
        if "propertyNames" in schema and (problem := _problem(name, schema["propertyNames"], root)) is not None:
            return f"the name {name!r}: {problem}"
        for rule in property_schemas(name, schema):
            if (problem := _problem(item, rule, root)) is not None:
                return f".{name}: {problem}"
    for name, rule in dependent_schemas(schema).items():
        if name in value and (problem := _problem(value, rule, root)) is not None:
            return problem
    return None


def _check_combined(value: Any, schema: dict[str, Any], root: Any) -> str | None:
    if "$ref" in schema and (problem := _problem(value, resolve(root, schema["$ref"]), root)) is not None:
        return problem
    for rule in schema.get("allOf", ()):
        if (problem := _problem(value, rule, root)) is not None:
            return problem
    if "anyOf" in schema and all(_problem(value, rule, root) is not None for rule in schema["anyOf"]):
        return "no branch of anyOf matches"
    if "oneOf" in schema:
        hits = sum(_problem(value, rule, root) is None for rule in schema["oneOf"])
        if hits != 1:
            return f"{hits} branches of oneOf match"
    if "not" in schema and _problem(value, schema["not"], root) is None:
        return "`not` matches"
    if "if" in schema:
        branch = "then" if _problem(value, schema["if"], root) is None else "else"
        return _problem(value, schema.get(branch, True), root)
    return None


_CHECKS: tuple[Callable[[Any, dict[str, Any], Any], str | None], ...] = (
    _check_plain,
    _check_number,
    _check_string,
    _check_array,
    _check_object,
    _check_combined,
)

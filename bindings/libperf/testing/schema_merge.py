"""Several JSON Schemas that must hold at once, written as one: what `allOf`, `$ref` and a chosen branch come down to.

The merged schema is a plan for building a value, not a proof: where two keywords cannot be joined exactly (two
patterns, say) one is kept, and the finished value is checked against the original schema.
"""

from __future__ import annotations

import math
from typing import Any

from .json_check import SchemaError, resolve, same_json

# Handled by whoever walks the schema, so never part of a merged one.
COMBINERS = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "then", "else", "not", "$defs", "definitions"})

_LARGER_WINS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_SMALLER_WINS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")


class DeadEnd(Exception):
    """The chosen branches contradict each other: another choice may still work."""


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """One schema for what `one` and `other` ask together. Raises DeadEnd when their types or enums share nothing."""
    if not one:
        return dict(other)
    result = dict(one)
    for key, value in other.items():
        result[key] = _joined(key, one[key], value) if key in one else value
    if "properties" in result:
        result["properties"] = _allowed_properties(one, other, result["properties"])
    return result


def _joined(key: str, left: Any, right: Any) -> Any:
    if key == "type":
        return _common_types(left, right)
    if key == "enum":
        shared = [option for option in left if any(same_json(option, rival) for rival in right)]
        if not shared:
            raise DeadEnd("two enums share no value")
        return shared
    if key == "required" and isinstance(left, list) and isinstance(right, list):
        return [*left, *(name for name in right if name not in left)]
    if key in ("properties", "patternProperties"):
        return {**left, **{name: _both(left[name], rule) if name in left else rule for name, rule in right.items()}}
    if key in ("items", "additionalProperties", "propertyNames", "contains"):
        return _both(left, right)
    if key in _LARGER_WINS and not isinstance(left, bool) and not isinstance(right, bool):
        return max(left, right)
    if key in _SMALLER_WINS and not isinstance(left, bool) and not isinstance(right, bool):
        return min(left, right)
    if key == "multipleOf" and isinstance(left, int) and isinstance(right, int):
        return math.lcm(left, right)
    if key == "uniqueItems":
        return left or right
    # Titles and descriptions beside a $ref say more than the ones behind it; of two patterns the first is as good.
    return left


def _both(left: Any, right: Any) -> Any:
    if left is False or right is False:
        return False
    if left is True or same_json(left, right):
        return right
    return left if right is True else {"allOf": [left, right]}


def _common_types(left: Any, right: Any) -> Any:
    ours, theirs = ([kind] if isinstance(kind, str) else list(kind) for kind in (left, right))
    shared = [kind for kind in ours if kind in theirs]
    for some, rest in ((ours, theirs), (theirs, ours)):
        if "integer" in some and "number" in rest and "integer" not in shared:
            shared.append("integer")
    if not shared:
        raise DeadEnd(f"no value has both type {left!r} and type {right!r}")
    return shared[0] if len(shared) == 1 else shared


def _allowed_properties(one: dict[str, Any], other: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """`properties` without those that one side's ``additionalProperties: false`` forbids."""
    for side in (one, other):
        if side.get("additionalProperties") is False and not side.get("patternProperties"):
            known = side.get("properties", {})
            properties = {name: rule for name, rule in properties.items() if name in known}
    return properties


class Depths:
    """How many levels the shallowest value of each subschema has; infinite when it must contain itself.

    Lets a builder that is deep enough pick the branch that ends soonest.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._of_reference: dict[str, float] = dict.fromkeys(_references(root), math.inf)
        changed = True
        while changed:  # each round settles at least one reference, so it ends
            changed = False
            for reference, depth in list(self._of_reference.items()):
                now = self.of(self._target(reference))
                if now < depth:
                    self._of_reference[reference] = now
                    changed = True

    def _target(self, reference: str) -> Any:
        try:
            return resolve(self._root, reference)
        except SchemaError:
            return False  # reported when a value really needs it

    def of(self, schema: Any) -> float:
        """Levels needed by `schema`: 0 for a scalar, 1 for a flat object, and so on."""
        if schema is False:
            return math.inf
        if not isinstance(schema, dict) or "const" in schema or "enum" in schema:
            return 0
        needs: list[float] = [self._of_reference.get(schema["$ref"], math.inf)] if "$ref" in schema else []
        needs += [self.of(part) for part in schema.get("allOf", ())]
        needs += [min(map(self.of, schema[key])) for key in ("anyOf", "oneOf") if schema.get(key)]
        return max([self._own(schema), *needs])

    def _own(self, schema: dict[str, Any]) -> float:
        kinds = schema.get("type")
        if isinstance(kinds, list) and any(kind not in ("object", "array") for kind in kinds):
            return 0
        if kinds == "array" or (isinstance(kinds, list) and "array" in kinds):
            items = schema.get("items", True)
            rule = items if not isinstance(items, list) else True
            return 1 + self.of(rule) if schema.get("minItems", 0) > 0 else 0
        required = schema.get("required")
        if not isinstance(required, list) or not required:
            return 0
        properties = schema.get("properties", {})
        return 1 + max(self.of(properties.get(name, True)) for name in required)


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(_references, node.values()))
    if isinstance(node, list):
        return set().union(*map(_references, node))
    return set()

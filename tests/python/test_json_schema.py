"""Values made from JSON Schemas: valid for every shape an LLM API meets, seeded, and always finite."""

from __future__ import annotations

import enum
import json
import random
import re
from typing import Annotated, Any, Literal

import pytest

from libperf.testing import SchemaError, first_problem, schema_value
from libperf.testing.pattern import PatternError, sample_pattern

SEEDS = range(25)
TEXT = "What is the weather in Paris for 3 people and 17 dogs? Compare it with Oslo."


def _object(properties: dict[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": needed, **more}


_TREE = _object({"value": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}})
_LINK = {"anyOf": [_object({"next": {"$ref": "#/$defs/Link"}}), {"type": "null"}]}
_SUM = {
    "anyOf": [
        _object({"op": {"enum": ["+"]}, "l": {"$ref": "#/$defs/E"}, "r": {"$ref": "#/$defs/E"}}),
        {"type": "number"},
    ]
}
_FORMATS = (
    "date-time",
    "date",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uuid",
    "duration",
    "json-pointer",
    "regex",
)

SHAPES: dict[str, Any] = {
    "strict object": _object({"name": {"type": "string"}, "age": {"type": "integer"}}, additionalProperties=False),
    "reference": {"$defs": {"P": _object({"x": {"type": "integer"}})}, **_object({"p": {"$ref": "#/$defs/P"}})},
    "reference with siblings": {"$defs": {"N": {"type": "integer"}}, "$ref": "#/$defs/N", "minimum": 7, "maximum": 9},
    "tree": {"$defs": {"Node": _TREE}, "$ref": "#/$defs/Node"},
    "linked list": {"$defs": {"Link": _LINK}, "$ref": "#/$defs/Link"},
    "expression": {"$defs": {"E": _SUM}, **_object({"e": {"$ref": "#/$defs/E"}})},
    "root recursion": _object({"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "n": {"type": "integer"}}),
    "nullable": _object({"a": {"type": ["string", "null"]}, "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}),
    "enum and const": _object({"unit": {"enum": ["celsius", "kelvin", 3, None]}, "kind": {"const": "weather"}}),
    "oneOf by division": {
        "type": "integer",
        "minimum": 1,
        "maximum": 60,
        "oneOf": [{"multipleOf": 3}, {"multipleOf": 5}],
    },
    "tagged union": {
        "oneOf": [
            _object({"t": {"const": "a"}, "x": {"type": "integer"}}),
            _object({"t": {"const": "b"}, "y": {"type": "number"}}),
        ]
    },
    "allOf": {"allOf": [_object({"a": {"type": "string"}}), _object({"b": {"type": "integer", "minimum": 4}})]},
    "anyOf of required": {
        **_object({"a": {"type": "string"}, "b": {"type": "string"}}, []),
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "array bounds": {
        "type": "array",
        "items": {"type": "number", "minimum": 0.5, "maximum": 1},
        "minItems": 2,
        "maxItems": 4,
    },
    "unique items": {"type": "array", "items": {"enum": [1, 2, 3, True]}, "uniqueItems": True, "minItems": 3},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
    "contains": {
        "type": "array",
        "items": {"type": "integer"},
        "contains": {"minimum": 900},
        "minContains": 2,
        "minItems": 4,
    },
    "string lengths": {"type": "string", "minLength": 30, "maxLength": 33},
    "patterns": _object(
        {
            "code": {"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"},
            "name": {"type": "string", "pattern": "^(foo|bar)+$", "minLength": 6, "maxLength": 12},
            "phone": {"type": "string", "pattern": "\\+\\d{1,3} ?[^a-z]+"},
        }
    ),
    "formats": _object({name: {"type": "string", "format": name} for name in _FORMATS}),
    "exclusive bounds": _object(
        {
            "i": {"type": "integer", "exclusiveMinimum": 3, "maximum": 4.5},
            "n": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
        }
    ),
    "multiples": _object(
        {"tenth": {"type": "number", "multipleOf": 0.1, "maximum": 3}, "seven": {"type": "integer", "multipleOf": 7}}
    ),
    "mapping": {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "minProperties": 2,
        "propertyNames": {"pattern": "^[a-z]{4}$"},
    },
    "pattern properties": {
        "type": "object",
        "patternProperties": {"^x_[0-9]+$": {"type": "boolean"}},
        "additionalProperties": False,
        "minProperties": 1,
    },
    "not": {"type": "integer", "minimum": 1, "maximum": 5, "not": {"enum": [1, 2, 3]}},
    "if then else": {
        **_object({"k": {"enum": ["a", "b"]}, "v": {}}),
        "if": {"properties": {"k": {"const": "a"}}},
        "then": {"properties": {"v": {"type": "integer"}}},
        "else": {"properties": {"v": {"type": "string"}}},
    },
    "defaults": _object({"limit": {"type": "integer", "default": 10}, "bad": {"type": "string", "default": 5}}),
    "dependent": {**_object({"a": {"type": "string"}, "b": {"type": "string"}}, []), "dependentRequired": {"a": ["b"]}},
    "anything": {},
}


def _validator(schema: Any) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    kind = jsonschema.Draft202012Validator
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_value_is_valid(shape: str) -> None:
    """Every seeded value validates under an independent validator."""
    validator = _validator(SHAPES[shape])
    for seed in SEEDS:
        value = schema_value(SHAPES[shape], seed=seed, text=TEXT)
        assert [error.message for error in validator.iter_errors(json.loads(json.dumps(value)))] == [], (seed, value)


def test_models_of_pydantic_are_filled() -> None:
    """Values for schemas that pydantic writes load into their models."""
    pytest.importorskip("pydantic")
    import pydantic

    class Colour(enum.Enum):
        red = "red"
        blue = "blue"

    class Part(pydantic.BaseModel):
        kind: Literal["part"]
        colour: Colour
        weight: Annotated[float, pydantic.Field(gt=0, le=10)]
        sizes: Annotated[list[int], pydantic.Field(min_length=1, max_length=3)]

    class Machine(pydantic.BaseModel):
        kind: Literal["machine"]
        label: Annotated[str, pydantic.Field(pattern=r"^[a-z]{2,5}$")]
        parts: list[Part]
        notes: dict[str, str] | None = None
        next: Machine | Part | None = pydantic.Field(default=None, discriminator="kind")

    namespace = {"Machine": Machine, "Part": Part}
    Machine.model_rebuild(_types_namespace=namespace)
    for seed in range(50):
        Machine.model_validate(schema_value(Machine.model_json_schema(), seed=seed, text=TEXT))


@pytest.mark.parametrize("draft", ["Draft4Validator", "Draft7Validator"])
def test_a_schema_of_schemas_is_filled(draft: str) -> None:
    """The schema that describes schemas, recursive at every turn, gets finite valid values."""
    validator = getattr(pytest.importorskip("jsonschema"), draft)
    for seed in SEEDS:
        assert validator(validator.META_SCHEMA).is_valid(schema_value(validator.META_SCHEMA, seed=seed))


def test_the_same_seed_gives_the_same_value() -> None:
    """A value depends on schema, seed and text only, and another seed gives another value."""
    schema = SHAPES["tree"]
    values = [json.dumps(schema_value(schema, seed=seed, text=TEXT)) for seed in (1, 1, 2, 3, 4)]
    assert values[0] == values[1]
    assert len(set(values[1:])) > 1


def test_words_and_numbers_come_from_the_text() -> None:
    """String fields use words of the conversation, and number fields its numbers, where they fit."""
    schema = _object({"city": {"type": "string"}, "people": {"type": "integer"}})
    values = [schema_value(schema, seed=seed, text=TEXT) for seed in range(40)]
    words = set(re.findall(r"\w+", TEXT))
    assert all(value["city"] in words for value in values)
    assert any(value["people"] in (3, 17) for value in values)


def test_defaults_are_liked_and_bad_ones_skipped() -> None:
    """A default that validates is used often; one that does not is never used."""
    values = [schema_value(SHAPES["defaults"], seed=seed) for seed in range(40)]
    assert sum(value["limit"] == 10 for value in values) > 20
    assert all(isinstance(value["bad"], str) for value in values)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#"}, "without end"),
        ({"$ref": "#/$defs/None"}, "names nothing"),
        ({"$ref": "https://example.com/schema"}, "points outside"),
        ({"type": "text"}, "unknown type 'text'"),
        (_object({"me": {"$ref": "#"}}), "seems to need itself"),
        ({"enum": []}, "no value found"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "between 5 and 4"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "string", "allOf": [{"type": "integer"}]}, "both type"),
        ({"properties": []}, "malformed"),
        (False, "nothing is allowed"),
        ("string", "no schema"),
    ],
)
def test_impossible_schemas_are_explained(schema: Any, said: str) -> None:
    """A schema without a value raises SchemaError that says why."""
    with pytest.raises(SchemaError, match=re.escape(said)):
        schema_value(schema)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^a{2,4}$",
        r"[a-c]+[^a-c]",
        r"(?:x|yy)*z",
        r"(?P<year>\d{4})-\d\d?",
        r"^\w+\s\S+$",
        r"\.{3}|\x41\u0042",
        "a{b}",
        r"[\]\-\d]+?",
        "^$",
    ],
)
def test_patterns_are_sampled(pattern: str) -> None:
    """Strings drawn from a pattern match it."""
    rng = random.Random(5)
    for _ in range(30):
        assert re.search(pattern, sample_pattern(pattern, rng))


@pytest.mark.parametrize("pattern", ["(", "a)", "[", r"(a)\1", "*a", "[z-a]", "(?<=a)b", r"\p{L}", "(?P<n"])
def test_patterns_that_cannot_be_read_backwards(pattern: str) -> None:
    """Malformed and unsupported patterns raise PatternError naming the pattern."""
    with pytest.raises(PatternError, match=re.escape(repr(pattern))):
        sample_pattern(pattern, random.Random(0))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_check_agrees_with_an_independent_one(shape: str) -> None:
    """Damaged values are judged the same by the built-in check and by an independent validator."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(SHAPES[shape])
    rng = random.Random(11)
    for seed in SEEDS:
        value = _damaged(schema_value(SHAPES[shape], seed=seed), rng)
        assert (first_problem(value, SHAPES[shape]) is None) == validator.is_valid(value), value


def _damaged(value: Any, rng: random.Random) -> Any:
    """`value` with one thing removed, replaced or added somewhere."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.3:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: _damaged(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], _damaged(value[at], rng), *value[at + (rng.random() < 0.7) :]]
    return rng.choice([None, True, 0, -1, 2.5, 10_000, "", "text", "x" * 40, [], {}, {"a": 1}, [1, 1]])

"""The part of the protobuf wire format that exporters need: varints and fields that have a length.

(protobuf.dev, "Encoding": a field is its number << 3 | type, then the value; a message inside a message is a field that
has a length.) Numbers are of 64 bits; zero and the empty text are left out by whoever writes a field, as proto3 does.
"""

from collections.abc import Iterable

__all__ = ["length_field", "number_field", "packed_field", "text_field", "varint"]

VARINT, LENGTH = 0, 2  # wire types
_LOW = (1 << 64) - 1
_SHORT = [bytes([value]) for value in range(128)]


def varint(value: int) -> bytes:
    """An unsigned or signed number of 64 bits; a negative one takes ten bytes."""
    if 0 <= value < 128:
        return _SHORT[value]
    value &= _LOW
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def number_field(field: int, value: int) -> bytes:
    """Empty for 0, which is the default."""
    return varint(field << 3 | VARINT) + varint(value) if value else b""


def length_field(field: int, value: bytes) -> bytes:
    """A message, also an empty one: in a list it counts."""
    return varint(field << 3 | LENGTH) + varint(len(value)) + value


def text_field(field: int, value: str) -> bytes:
    """Text in a list; a lone surrogate, which UTF-8 does not have, becomes a question mark."""
    return length_field(field, value.encode("utf-8", "replace"))


def packed_field(field: int, values: Iterable[int]) -> bytes:
    """A list of numbers."""
    packed = b"".join(map(varint, values))
    return length_field(field, packed) if packed else b""

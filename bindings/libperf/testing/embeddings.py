"""Embedding vectors: deterministic unit vectors made from a hash of the text.

The vector depends on the text alone (not on seed or model), so a store filled in one run still fits the next. A
shorter `dimensions` gives the first components of the long vector, scaled to unit length, as the real models do.
"""

from __future__ import annotations

import array
import base64
import hashlib
import json
import math
import struct
from typing import Any

from .request import ApiError, MockRequest, embedding_inputs

_MOST_DIMENSIONS = 1 << 16


def embedding(text: str | list[int], dimensions: int) -> list[float]:
    """A unit vector of `dimensions` components for a text or a token array."""
    source = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b"tokens:" + json.dumps(text).encode()
    # An extendable hash gives all components at once, and its prefix property makes short vectors prefixes of long.
    raw = struct.unpack(f"<{dimensions}h", hashlib.shake_128(source).digest(2 * dimensions))
    length = math.sqrt(math.fsum(component * component for component in raw)) or 1.0
    return [component / length for component in raw]


def embeddings_json(request: MockRequest, default_dimensions: int) -> dict[str, Any]:
    """The body of an embeddings answer. Raises ApiError (400) for dimensions or an encoding that cannot be."""
    dimensions = request.body.get("dimensions")
    if dimensions is None:
        dimensions = default_dimensions
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise ApiError(
            400,
            f"Invalid 'dimensions': {dimensions!r:.40}. Give an integer from 1 to {_MOST_DIMENSIONS}.",
            param="dimensions",
        )
    encoding = request.body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise ApiError(
            400, f"Invalid 'encoding_format': {encoding!r:.40}. Use float or base64.", param="encoding_format"
        )
    data = []
    for index, item in enumerate(embedding_inputs(request.body)):
        vector = embedding(item, dimensions)
        value: list[float] | str = vector if encoding == "float" else _base64(vector)
        data.append({"object": "embedding", "index": index, "embedding": value})
    tokens = request.prompt_tokens
    return {
        "object": "list",
        "data": data,
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(vector: list[float]) -> str:
    """Little-endian 32-bit floats in base64: how the API packs vectors."""
    packed = array.array("f", vector)
    if struct.pack("=h", 1) != struct.pack("<h", 1):
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode("ascii")

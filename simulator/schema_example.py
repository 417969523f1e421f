"""The smallest value that a JSON schema admits: what the simulator passes to tools. Pure.

Covers what tools and structured outputs use: types, enum, const, default, required properties,
anyOf, oneOf, allOf (its first branch) and local references. Patterns and formats are not honoured.
"""

from typing import Any

# Bounds both the depth and the size of what a recursive schema unfolds to.
DEPTH_MAX = 16
VALUES_MAX = 500
CHARS_MAX = 1000
WORD = "simulated"


def example(schema: Any) -> Any:
    """Return a value for `schema`, the same one each time."""
    return _Example(schema).make(schema, 0)


class _Example:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._values_left = VALUES_MAX

    def make(self, schema: Any, depth: int) -> Any:
        self._values_left -= 1
        if not isinstance(schema, dict) or depth > DEPTH_MAX or self._values_left < 0:
            return None
        if isinstance(schema.get("$ref"), str):
            return self.make(self._resolve(schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if _list(schema, "enum"):
            return schema["enum"][0]
        if "default" in schema:
            return schema["default"]
        for keyword in ("anyOf", "oneOf", "allOf"):
            if _list(schema, keyword):
                return self.make(schema[keyword][0], depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = (_list(schema, "type") or [schema.get("type")])[0]
        if kind == "object" or (kind is None and "properties" in schema):
            properties = schema.get("properties")
            known = properties if isinstance(properties, dict) else {}
            names = [name for name in _list(schema, "required") if isinstance(name, str)]
            return {name: self.make(known.get(name, {}), depth + 1) for name in names}
        if kind == "array":
            least = min(_number(schema, "minItems"), VALUES_MAX)
            return [self.make(schema.get("items"), depth + 1) for _ in range(int(least))]
        if kind in ("integer", "number"):
            return _number(schema, "minimum") if "minimum" in schema else 1
        if kind == "boolean":
            return False
        if kind == "null":
            return None
        return WORD.ljust(int(min(_number(schema, "minLength"), CHARS_MAX)), ".")

    def _resolve(self, reference: str) -> Any:
        found = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(step) if isinstance(found, dict) else None
        return found


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def _number(schema: dict[str, Any], keyword: str) -> float:
    value = schema.get(keyword)
    return value if isinstance(value, int | float) else 0

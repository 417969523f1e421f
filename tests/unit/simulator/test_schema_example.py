import pytest

from simulator.schema_example import VALUES_MAX, example

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/node"}, "b": {"$ref": "#/$defs/node"}},
            "required": ["a", "b"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"type": "object", "properties": {"a": {}}}, {}, id="optional left out"),
        pytest.param({"type": "string", "minLength": 12}, "simulated...", id="string"),
        pytest.param({"type": "integer", "minimum": 5}, 5, id="integer"),
        pytest.param({"type": "array", "items": {"const": 1}, "minItems": 2}, [1, 1], id="array"),
        pytest.param({"enum": ["x", "y"]}, "x", id="enum"),
        pytest.param({"anyOf": [{"type": "null"}, {}]}, None, id="anyOf"),
        pytest.param({"type": ["boolean", "null"]}, False, id="several types"),
        pytest.param({"type": "string", "default": "d"}, "d", id="default"),
        pytest.param({"$ref": "#/nowhere"}, None, id="dangling reference"),
        pytest.param({"minItems": "x", "type": "array"}, [], id="nonsense"),
    ],
)
def test_examples(schema, expected):
    assert example(schema) == expected


def test_a_recursive_schema_ends():
    assert str(example(TREE)).count("{") <= VALUES_MAX

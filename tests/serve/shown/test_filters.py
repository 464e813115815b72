"""Filters: what they mean, what they refuse, and that they agree with a slow evaluation item by item."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastaisle.serve.shown.filters import MAX_DEPTH, MAX_LENGTH, MAX_VALUES, FilterError, read_filter
from lastaisle.serve.shown.masks import fields_of

ITEMS: list[dict[str, Any]] = [
    {"item_id": "1", "category": "shoes", "brand": "Ahorn", "price": 49.5, "stock": 3, "available": True},
    {"item_id": "2", "category": "shoes", "brand": None, "price": 120.0, "stock": 0, "available": False},
    {"item_id": "3", "category": "socks", "brand": "Birke", "price": 5.0, "stock": None, "available": True},
    {"item_id": "4", "category": None, "brand": "Zoë's", "price": None, "stock": 9, "available": None},
    {"item_id": "5", "category": "", "brand": "a # b", "price": float("nan"), "stock": -1, "available": True},
]
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("item_id", "category", "brand")),
        ("price", pa.float64()),
        ("stock", pa.int64()),
        ("available", pa.bool_()),
        ("valid_from", pa.timestamp("us", tz="UTC")),
        ("tags", pa.list_(pa.string())),
    ]
)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
for _number, _item in enumerate(ITEMS):
    _item["valid_from"] = FIRST.replace(month=1 + _number)
TABLE = pa.Table.from_pylist(ITEMS, SCHEMA)
FIELDS = fields_of(SCHEMA)


def kept(text: str) -> str:
    """Return the ids of the items that a filter keeps, as one text."""
    mask = read_filter(text, FIELDS).rows(TABLE)
    assert mask.dtype == bool
    return "".join(item["item_id"] for item, keep in zip(ITEMS, mask, strict=True) if keep)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("category == 'shoes' and price < 50", "1"),
        ("category == 'shoes' or price < 50", "123"),
        ('  category == "shoes"\n and not available ', "2"),
        ("not (category == 'shoes' and price < 50)", "2345"),
        ("category in ['shoes', 'socks']", "123"),
        ("category not in ('shoes',)", "345"),
        ("category in []", ""),
        ("5 <= price < 50", "13"),
        ("50 > price", "13"),
        ("price == 5", "3"),
        ("price in [5, 120.0]", "23"),
        ("stock in [3, -1]", "15"),
        ("stock < 0.5", "25"),
        ("stock == -1 or stock == +9", "45"),
        ("available", "135"),
        ("not available", "24"),
        ("available == true", "135"),
        ("available != True", "24"),
        ("available == false", "2"),
        ("available in [true]", "135"),
        ("true", "12345"),
        ("false", ""),
        ("category != 'shoes'", "345"),
        ("price != 5", "1245"),
        ("not price < 50", "245"),
        ("price == null", "45"),
        ("price != null", "123"),
        ("brand == None", "2"),
        ("null == brand", "2"),
        ('brand == "Zoë\'s"', "4"),
        ("brand == 'a # b'", "5"),
        ("category == ''", "5"),
        ("category < 'shoes'", "5"),
        ("item_id == '3'", "3"),
        ("valid_from >= '2026-03-01T00:00:00Z'", "345"),
        ("valid_from == '2026-01-01'", "1"),
        ("valid_from < '2026-02-01T00:30:00+01:00'", "1"),
        ("valid_from in ['2026-02-01T00:00:00Z']", "2"),
    ],
)
def test_a_filter_keeps_the_items_of_which_it_is_true(text: str, ids: str) -> None:
    assert kept(text) == ids


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "is empty"),
        ("   ", 1, "is empty"),
        ("price < 5 and categry == 'x'", 15, "no field categry; do you mean category?"),
        ("Price < 5", 1, "do you mean price?"),
        ("zzz == 1", 1, "the fields are item_id, category"),
        ("tags == 'x'", 1, "no field tags"),
        ("brand == 'é' and prise < 5", 18, "do you mean price?"),
        ("  prise < 5", 3, "do you mean price?"),
        ("price < 'x'", 9, "price is compared with a number such as 50, received 'x'"),
        ("price < true", 9, "a number such as 50, received true"),
        ("category == 5", 13, "a text such as 'shoes', received 5"),
        ("available == 1", 14, "true or false, received 1"),
        ("available < true", 13, "by == or !="),
        ("price < null", 9, "null is compared by == or !="),
        ("price in [1, null]", 14, "write price == null"),
        ("price in 5", 10, "expected a list after in"),
        ("'shoes' in category", 1, "expected the name of a field"),
        ("category == brand", 13, "not with another field"),
        ("5 < 6", 1, "expected the name of a field"),
        ("category is None", 13, "write == null"),
        ("category", 1, "compare category with a text"),
        ("price", 1, "compare price with a number"),
        ("'shoes'", 1, "expected a comparison"),
        ("price = 5", 7, "write == to compare"),
        ("price < 5 && available", 11, "write and"),
        ("price < 5 || available", 11, "write or"),
        ("!available", 1, "write not"),
        ("price <> 5", 7, "write !="),
        ("price < 5 AND available", 11, "small letters"),
        ("price <", 8, "ends too early"),
        ("(price < 5", 1, "cannot be read here"),
        ("price < 5)", 10, "cannot be read here"),
        ("price < 5 # and available", 11, "no comments"),
        ("brand in ['a' 'b']", 11, "a comma stands between two texts"),
        ("brand == f'{price}'", 10, "expected a text"),
        ("brand == b'x'", 10, "expected a text"),
        ("brand == r'x'", 10, "a text stands between"),
        ("brand == '''x'''", 10, "a text stands between"),
        ("brand == 'a\\x62'", 12, "is not allowed"),
        ("brand == '\x00'", 11, "is not allowed"),
        ("brand == '\ud800'", 11, "is not allowed"),
        ("price < 1e999", 9, "too large"),
        ("price < 9" + "9" * 400, 9, "too large"),
        ("price < 5j", 9, "expected a number"),
        ("price < 1 + 1", 9, "expected a number"),
        ("price < --1", 9, "expected a number"),
        ("price < [1]", 9, "expected a number"),
        ("valid_from > 'yesterday'", 14, "a time such as"),
        ("valid_from > '0001-01-01T00:00:00+14:00'", 14, "a time such as"),
        ("valid_from > 5", 14, "a time such as"),
        ("__import__('os').system('x') == 1", 1, "expected the name of a field"),
        ("price.real < 5", 1, "expected the name of a field"),
        ("[x for x in price]", 1, "expected a comparison"),
        ("(lambda: true)()", 1, "expected a comparison"),
        ("available if true else available", 1, "expected a comparison"),
        ("(price := 5)", 2, "expected a comparison"),
        ("yield", 1, "cannot be read here"),
        ("price < 5; available", 10, "cannot be read here"),
    ],
)
def test_a_text_that_is_no_filter_is_refused_with_the_place(text: str, position: int, reason: str) -> None:
    with pytest.raises(FilterError) as refused:
        read_filter(text, FIELDS)
    assert reason in refused.value.reason
    assert refused.value.position == position
    assert f"at character {position}: " in str(refused.value)


def test_length_depth_and_lists_are_bounded() -> None:
    for text, reason in {
        "price < 5" + " " * MAX_LENGTH: f"at most {MAX_LENGTH} characters",
        "not " * MAX_DEPTH + "available": f"deeper than {MAX_DEPTH}",
        f"price in [{','.join(['1'] * (MAX_VALUES + 1))}]": f"at most {MAX_VALUES} values",
    }.items():
        with pytest.raises(FilterError, match=reason):
            read_filter(text, FIELDS)
    assert kept("not " * (MAX_DEPTH - 1) + "available") == "24"
    assert kept(f"price in [{','.join(['5'] * MAX_VALUES)}]") == "3"
    for sign in "([-~+!{":
        with pytest.raises(FilterError):
            read_filter(sign * MAX_LENGTH, FIELDS)
    with pytest.raises(FilterError):
        read_filter("price < " + "-" * 1900 + "1", FIELDS)


@given(st.text(max_size=60) | st.text("pricea vl<>=!()[]'\"#0123.,andortnui\\\n-", max_size=60))
def test_no_text_ends_in_another_error(text: str) -> None:
    try:
        read_filter(text, FIELDS).rows(TABLE)
    except FilterError as error:
        assert 1 <= error.position <= len(text) + 1


_TEXTS = st.sampled_from(["shoes", "socks", "", "Ahorn", "Zoë's", "a # b", "x"])
_NUMBERS = st.sampled_from([5.0, 49.5, 120.0, 0.0, -1.0, 3.0, 1e300])
_SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f'"{value}"' if isinstance(value, str) else repr(value)


_COMPARISONS = st.one_of(
    st.tuples(st.sampled_from(["category", "brand"]), _SIGNS, _TEXTS),
    st.tuples(st.sampled_from(["price", "stock"]), _SIGNS, _NUMBERS),
    st.tuples(st.just("available"), st.sampled_from(["==", "!="]), st.booleans()),
    st.tuples(
        st.sampled_from(["category", "price", "stock", "available"]),
        st.sampled_from(["==", "!="]),
        st.none(),
    ),
    st.tuples(st.sampled_from(["category", "brand"]), st.sampled_from(["in", "not in"]), st.lists(_TEXTS)),
    st.tuples(st.sampled_from(["price", "stock"]), st.sampled_from(["in", "not in"]), st.lists(_NUMBERS)),
)
_TREES = st.recursive(
    _COMPARISONS,
    lambda parts: st.one_of(
        st.tuples(st.just("not"), parts),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(parts, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


def _written(tree: Any) -> str:
    if tree[0] == "not":
        return f"not ({_written(tree[1])})"
    if tree[0] in ("and", "or"):
        return f" {tree[0]} ".join(f"({_written(part)})" for part in tree[1])
    name, sign, value = tree
    shown = f"[{', '.join(map(_literal, value))}]" if isinstance(value, list) else _literal(value)
    return f"{name} {sign} {shown}"


def _holds(tree: Any, item: dict[str, Any]) -> bool:
    """Evaluate a filter for one item, slowly."""
    if tree[0] == "not":
        return not _holds(tree[1], item)
    if tree[0] in ("and", "or"):
        return (all if tree[0] == "and" else any)(_holds(part, item) for part in tree[1])
    name, sign, wanted = tree
    value = item[name]
    missing = value is None or value != value
    if sign in ("in", "not in"):
        return (not missing and value in wanted) == (sign == "in")
    if wanted is None or missing:
        equal = missing and wanted is None
        return {"==": equal, "!=": not equal}.get(sign, False)
    return {
        "==": value == wanted,
        "!=": value != wanted,
        "<": sign == "<" and value < wanted,
        "<=": sign == "<=" and value <= wanted,
        ">": sign == ">" and value > wanted,
        ">=": sign == ">=" and value >= wanted,
    }[sign]


@given(_TREES)
def test_filters_agree_with_a_slow_evaluation(tree: Any) -> None:
    expected = "".join(item["item_id"] for item in ITEMS if _holds(tree, item))
    assert kept(_written(tree)) == expected

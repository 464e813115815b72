"""The shape of a quarantined row shows the names and the kinds of its fields, and no value."""

import json

import pytest

from lastaisle.ingest.shapes import OTHER, SEVERAL, shapes_of


def shape(*payloads):
    return [(one.text, one.rows) for one in shapes_of(payloads)]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"price": 17.90, "item_id": "shoe-1"}', "{item_id: text, price: number}"),
        ('{"price": -1}', "{price: negative number}"),
        ('{"price": "17,90"}', "{price: number as text}"),
        ('{"occurred_at": "2025-10-05T02:03:16.327Z"}', "{occurred_at: time}"),
        ('{"occurred_at": "yesterday"}', "{occurred_at: text}"),
        ('{"user_id": " ", "session_id": null}', "{session_id: null, user_id: empty text}"),
        ('{"consent": {"analytics": true}}', "{consent: {analytics: true or false}}"),
        ('{"consent": [], "referrer": [1]}', "{consent: empty list, referrer: list}"),
        ('{"consent": {"consent": {"consent": {"consent": 1}}}}', "{consent: {consent: {consent: object}}}"),
        ('{"event_id": "e1", "user', "JSON that is cut off"),
        ("anna@example.com;17.90", "text that is no JSON"),
        ("[" * 50_000, "JSON that is nested too deep"),
        ('"anna@example.com"', "text"),
        ("17.9", "number"),
        ("a" * 100_001, "more than 100,000 characters"),
        (None, "no payload"),
    ],
)
def test_a_payload_is_told_without_its_values(payload, expected):
    assert shape(payload) == [(expected, 1)]


def test_equal_shapes_are_counted_together_the_most_frequent_first():
    assert shape('{"price": "a"}', '{"price": 1}', '{"price": 2}') == [
        ("{price: number}", 2),
        ("{price: text}", 1),
    ]


def test_a_name_is_shown_if_a_contract_knows_it_or_if_several_payloads_have_it():
    rare = '{"pricee": 1}'
    assert shape(rare) == [(f"{{{OTHER}: number}}", 1)]
    assert shape(*[rare] * SEVERAL) == [("{pricee: number}", SEVERAL)]


@pytest.mark.parametrize("name", ["anna@example.com", "Anna Muster", "4711-0815", "+49 170 1234567", ""])
def test_personal_data_in_a_name_is_never_shown(name):
    assert shape(*[json.dumps({name: 1})] * 50) == [(f"{{{OTHER}: number}}", 50)]

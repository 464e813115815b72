"""The ways in which people spell ids, countries, currencies, devices, consents and stocks."""

from __future__ import annotations

import random
import time

import duckdb
import pytest

from data_contracts.contract import load_contract
from data_contracts.errors import ContractError
from data_contracts.spellings import BLANKS, SPELLINGS, identifier

READ = {
    "availability": {
        **dict.fromkeys(["true", "1", "In stock", "in_stock", " IN-STOCK ", "limited availability"], "true"),
        **dict.fromkeys(["preorder", "backorder", "pre-order", "yes"], "true"),
        **dict.fromkeys(["https://schema.org/InStock", "http://schema.org/LimitedAvailability"], "true"),
        **dict.fromkeys(["false", "0", "out of stock", "out_of_stock", "Sold out", "no"], "false"),
        **dict.fromkeys(["https://schema.org/OutOfStock", "discontinued"], "false"),
        **{text: text for text in ["perhaps", "", "-1", "- 1", "-0", "_1", "none", "n/a"]},
        "https://shop.example/InStock": "https://shop.example/InStock",
    },
    "identifier": {
        "123": "123",
        "123.0": "123",
        "+7.00": "7",
        "-5.0": "-5",
        "0.0": "0",
        " a ": "a",
        "5\u00a0": "5",
        "12345678901234567890123": "12345678901234567890123",
        "1.5": "1.5",
        "v1.0": "v1.0",
        "1e5": "1e5",
        "[promo]-1": "[promo]-1",
        "{x": "{x",
        "tom": "tom",
        "fa1se": "fa1se",
        "fal\u017fe": "fal\u017fe",
        "cfcd208495d565ef": "cfcd208495d565ef",
        "5\v": "5",
        "\u30007.0\ufeff": "7",
        "\t True\n": None,
        "1.5e+3\u00a0": None,
        **dict.fromkeys(['{"id":5}', "[5]", "[]", "true", "False", "1.2345678901234568e+18", "1.23E+18"]),
    },
    "country": {
        **dict.fromkeys(
            ["US", "us", " Us ", "USA", "usa", "840", "United States", "united states of america"], "US"
        ),
        **dict.fromkeys(["GB", "UK", "uk", "GBR", "United Kingdom", "Great Britain"], "GB"),
        "DE": "DE",
        " de\t": "DE",
        "Germany": "DE",
        "DEU": "DE",
        "Czech Republic": "CZ",
        "Türkiye": "TR",
        "Atlantis": "ATLANTIS",
        "": "",
        "-": "-",
    },
    "currency": {
        **dict.fromkeys(["EUR", " eur ", "€", "Euro"], "EUR"),
        "£": "GBP",
        "US$": "USD",
        "us dollar": "USD",
        "$": "$",
        "¥": "¥",
        "coins": "COINS",
    },
    "device_type": {
        "mobile": "mobile",
        "Mobile": "mobile",
        " iPhone ": "mobile",
        "PC": "desktop",
        "iPad": "tablet",
    }
    | {"smart TV": "tv", "fridge": "fridge"},
    "consent": {
        "true": "true",
        "TRUE": "true",
        " Granted": "true",
        "1": "true",
        "no": "false",
        "Denied": "false",
    }
    | {"perhaps": "perhaps", "": "", "C0001": "C0001"},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_read_or_stays_as_it_is(spelling):
    query = f"SELECT {SPELLINGS[spelling][0]('x')} FROM (SELECT $1::VARCHAR AS x)"
    found = {text: duckdb.execute(query, [text]).fetchall()[0][0] for text in READ[spelling]}
    assert found == READ[spelling]
    assert duckdb.execute(query, [None]).fetchall() == [(None,)]


def test_an_id_is_read_alike_in_sql_and_in_python():
    signs = [*BLANKS, *'+-.e1[]{}:"tTrRuUeEaN']
    draw = random.Random(7)
    made = ["".join(draw.choices(signs, k=draw.randint(0, 6))) for _ in range(20_000)]
    given = [*READ["identifier"], *made, "true", " {} ", "[NaN]", "[1]x", "+1.0 ", "1.0e+5", "\u0663.0"]
    query = f"SELECT {SPELLINGS['identifier'][0]('x')} FROM (SELECT unnest($1::VARCHAR[]) AS x)"
    in_sql = [row[0] for row in duckdb.execute(query, [given]).fetchall()]
    assert [identifier(text) for text in given] == in_sql


def test_an_id_of_hex_digits_costs_about_as_much_as_one_of_decimal_digits():
    with duckdb.connect() as connection:
        hashes = "SELECT md5(number::VARCHAR) AS hex FROM range(100000) AS numbers(number)"
        connection.execute(
            f"CREATE TABLE ids AS SELECT hex, translate(hex, 'abcdef', '123456') AS digits FROM ({hashes})"
        )

        def seconds(column: str) -> float:
            began = time.process_time()
            connection.execute(f"SELECT count({SPELLINGS['identifier'][0](column)}) FROM ids").fetchall()
            return time.process_time() - began

        assert min(seconds("hex") for _ in range(5)) < 4 * min(seconds("digits") for _ in range(5))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("spelling, value: country", "spelling, value: planet", "spelling is one of identifier"),
        ("spelling, value: country", "spelling, value: consent", "consent needs a boolean"),
        ("unreadable, value: drop", "unreadable, value: ignore", "unreadable is refuse or drop"),
        ("spelling, value: identifier", "unreadable, value: drop", "without required, unique and default"),
        ("spelling, value: consent", "unreadable, value: drop", "without required, unique and default"),
    ],
)
def test_a_wrong_spelling_or_fate_is_refused(edited, old, new, reason):
    with pytest.raises(ContractError, match=reason):
        load_contract(edited(old, new))

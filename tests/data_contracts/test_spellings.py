"""The ways in which people spell ids, countries, currencies, devices and consents."""

from __future__ import annotations

import duckdb
import pytest

from data_contracts.contract import load_contract
from data_contracts.errors import ContractError
from data_contracts.spellings import SPELLINGS

READ = {
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

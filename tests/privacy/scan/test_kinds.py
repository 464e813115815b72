"""Each kind is found as shoppers write it, and what only looks like it is not."""

from __future__ import annotations

import random
import string

import duckdb
import pytest

from lastaisle.privacy.scan.candidates import may_hold
from lastaisle.privacy.scan.kinds import kinds_in

#: Texts with the kinds that they hold; the numbers of cards and accounts are public examples.
TEXTS = {
    "anna@example.org": ["email"],
    "a gift for anna.b+x@exämple.de!": ["email"],
    "(see mailto:anna@mail.shop.test)": ["email"],
    "https://shop.example/p?mail=anna%40example.org": ["email"],
    "anna&#64;example.org": ["email"],
    "anna\uff20example.org": ["email"],
    "logo@2x.png": [],
    "https://cdn.example/img/logo@3x.jpg": [],
    "anna@localhost": [],
    "2 @ 3.50": [],
    "call +49 30 1234567": ["phone"],
    "0049 (30) 123-4567": ["phone"],
    "tel:%2B49301234567": ["phone"],
    "+1-202-555-0173": ["phone"],
    "030 1234567": [],
    "size +15 cm": [],
    "4111 1111 1111 1111": ["card"],
    "card 5500-0000-0000-0004.": ["card"],
    "378282246310005": ["card"],
    "4111111111111112": [],  # a wrong check digit
    "9111111111111116": [],  # no issuer
    "4006381333931": [],  # a number of an article (EAN)
    "x4111111111111111": [],
    "DE89370400440532013000": ["iban"],
    "IBAN de89 3704 0044 0532 0130 00, thanks": ["iban"],
    "GB82WEST12345698765432": ["iban"],
    "DE89370400440532013001": [],
    "203.0.113.9": ["ip"],
    "from 203.0.113.9:8080.": ["ip"],
    "[2001:db8::8a2e:370:7334]": ["ip"],
    "http://shop.example/?from=203.0.113.9": ["ip"],
    "http://192.168.7.7/picture.png": [],  # a server
    "firmware v1.2.3.4": [],
    "Version 8.0.0.1": [],
    "1.2.3.4.5": [],
    "999.1.1.1": [],
    "127.0.0.1": [],
    "12:30:45": [],
    "aa:bb:cc:dd:ee:ff": [],
    "Bad::Bed": [],
    "anna@example.org, +49 30 1234567": ["email", "phone"],
    "/p/4111111111111111": [],  # the address of a page
    "Nike Air Max 90": [],
    "100% cotton &amp; wool": [],
}


@pytest.fixture(scope="module")
def candidate():
    """candidate(text, scan, national): whether the SQL passes a text on."""
    with duckdb.connect() as connection:

        def ask(text, scan="text", national=False):
            asked = f"SELECT {may_hold('$text', scan, national=national)}"
            return connection.execute(asked, {"text": text}).fetchone()[0]

        yield ask


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_holds_these_kinds(text):
    assert kinds_in(text) == TEXTS[text]


@pytest.mark.parametrize("text", TEXTS)
def test_in_an_identifier_only_what_no_number_of_an_article_looks_like_counts(text):
    assert kinds_in(text, "identifier") == [kind for kind in TEXTS[text] if kind not in ("phone", "card")]
    assert kinds_in(text, "none") == []


@pytest.mark.parametrize("text", [text for text in TEXTS if TEXTS[text]])
def test_the_sql_passes_on_every_text_with_a_find(text, candidate):
    assert candidate(text)
    if kinds_in(text, "identifier"):
        assert candidate(text, "identifier")


def test_the_sql_passes_on_finds_in_any_surroundings(candidate):
    rng = random.Random(7)
    cores = [text for text in TEXTS if TEXTS[text]] + ["030 / 123 45 67", "٠٣٠ ١٢٣٤٥٦٧", "+٤٩ ٣٠ ١٢٣٤٥٦٧"]
    letters = f"{string.ascii_letters}{string.digits} .,-_:;+@%&/()äß"
    found = 0
    for _ in range(2000):
        around = ["".join(rng.choices(letters, k=rng.randrange(4))) for _ in range(2)]
        text = rng.choice(cores).join(around)
        countries = rng.choice([(), ("DE",)])
        for scan in ("text", "identifier"):
            if kinds_in(text, scan, countries):
                found += 1
                assert candidate(text, scan, national=bool(countries)), text
    assert found > 1500


@pytest.mark.parametrize("text", ["Nike Air Max 90", "shoes > men > running", "4012345678", "LEGO 10280"])
def test_the_sql_stops_usual_texts(text, candidate):
    assert not candidate(text)


def test_national_numbers_need_their_country():
    assert kinds_in("Tel. 030 1234567", countries=("DE",)) == ["phone"]
    assert kinds_in("Tel. 030 1234567", countries=("US",)) == []
    assert kinds_in("03012345678", countries=("DE",)) == ["phone"]
    assert kinds_in("2025550173", countries=("US",)) == []  # the number of a category, too
    assert kinds_in("(202) 555-0173", countries=("US",)) == ["phone"]


def test_a_long_text_of_no_mail_is_searched_at_once():
    assert kinds_in("a" * 100_000 + "@") == []

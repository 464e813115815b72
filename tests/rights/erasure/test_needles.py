import base64
import json
import random
import string
from urllib.parse import quote

import pytest

from lastaisle.rights.erasure.needles import Needles, is_distinct

ANNA = "anna.é/b@example.org"
PSEUDONYM = "00112233445566778899aabbccddeeff"


def found(needles: Needles, content: bytes) -> list[str]:
    return [needles.texts[hit.text] for hit in needles.find(content)]


@pytest.mark.parametrize(
    "written",
    [
        ANNA.encode(),
        json.dumps({"id": ANNA}).encode(),
        ANNA.upper().encode(),
        b"u=" + quote(ANNA).encode() + b"&x",
        b"u=" + quote(ANNA, safe="").lower().encode() + b"%26x",
        b"%3D" + ANNA.encode() + b"%26",
        b"\\n" + ANNA.encode() + b"\\n",
        base64.b64encode(b"{" + ANNA.encode() + b"}"),
        base64.urlsafe_b64encode(b"x:" + ANNA.encode()),
        base64.b64encode(ANNA.encode()),
        ANNA.encode().hex().encode(),
        ANNA.encode("utf-16-le"),
        ANNA.encode("utf-32-le"),
    ],
    ids=lambda written: str(len(written)),
)
def test_finds_an_id_in_every_form_at_every_place(written: bytes) -> None:
    needles = Needles([ANNA])
    for padding in range(10):
        assert set(found(needles, b"~" * padding + written)) == {ANNA}
        assert set(found(needles, b"~" * padding + written + b"~" * 9)) == {ANNA}


@pytest.mark.parametrize(
    "written",
    [
        PSEUDONYM.encode(),
        PSEUDONYM.upper().encode(),
        bytes.fromhex(PSEUDONYM),
        base64.b64encode(bytes.fromhex(PSEUDONYM)),
        base64.b64encode(b"!" + PSEUDONYM.encode()),
        PSEUDONYM.encode("utf-16-le"),
        PSEUDONYM.encode("utf-32-le"),
    ],
    ids=lambda written: str(len(written)),
)
def test_finds_a_pseudonym_in_every_form(written: bytes) -> None:
    assert set(found(Needles([], [PSEUDONYM]), b"abc" + written + b"abc")) == {PSEUDONYM}


@pytest.mark.parametrize(
    "other", ["joanna@example.org", "maria.anna@example.org", "anna@example.org.uk", "anna@example.organic"]
)
def test_a_longer_id_is_another_shopper(other: str) -> None:
    needles = Needles(["anna@example.org"])
    for written in (
        other.encode(),
        other.encode().hex().encode(),
        *(base64.b64encode(b"x" * before + b" " + other.encode()) for before in range(3)),
        other.encode("utf-16-le"),
        other.encode("utf-32-le"),
    ):
        assert not found(needles, b"  " + written + b"  "), written


def test_user_1_is_not_user_10() -> None:
    assert (
        found(Needles(["user-1"]), b'{"user": "user-10"} user-1. "user-1" auser-1 user-1-2') == ["user-1"] * 2
    )


@pytest.mark.parametrize("text", ["17", "214821026", "desktop", "add_payment_info", "anna", ""])
def test_numbers_and_words_are_no_needles(text: str) -> None:
    assert not is_distinct(text)
    needles = Needles([text])
    assert (len(needles), needles.too_short) == (0, 1)
    assert not found(needles, f"x {text} y".encode())


def test_finds_the_same_places_as_a_plain_search() -> None:
    draw = random.Random(7)

    def word() -> str:
        return (
            "u" + "".join(draw.choices(string.ascii_lowercase + string.digits, k=draw.randint(6, 30))) + "7"
        )

    texts = [word() for _ in range(500)]
    words = [draw.choice(texts) if draw.random() < 0.01 else word() for _ in range(100_000)]
    needles = Needles(texts, sample=" ".join(words[:1000]).encode())
    content = " ".join(words).encode()
    assert len(content) > 1 << 20, "the content spans chunks"
    assert sorted(found(needles, content)) == sorted(each for each in words if each in set(texts))

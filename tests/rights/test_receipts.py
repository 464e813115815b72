"""Receipts: whoever changes one is found out, and only its file can show whom it is about."""

import json
import stat

import pytest

from lastaisle.rights.receipts import (
    ReceiptError,
    ReceiptKey,
    ReceiptKeyError,
    names_all,
    read_receipt,
    verify,
    without_salt,
)

FACTS = {"request_id": "0" * 16, "kind": "erase", "done": {"rows": 3, "found": 0}}
IDS = ["anna@example.org", "J\u00fcrgen \U0001f6d2", "007"]


@pytest.fixture
def key(tmp_path):
    return ReceiptKey.load_or_create(tmp_path / "keys" / "receipts.pem")


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path, key):
    file = tmp_path / "keys" / "receipts.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ReceiptKey.load_or_create(file).public == key.public
    assert "PRIVATE" not in key.public
    assert repr(key) == "ReceiptKey()"


def test_a_receipt_that_nobody_changed_is_good(key):
    signed = key.sign(FACTS, IDS)
    read = read_receipt(json.dumps(signed, ensure_ascii=True))
    verify(read, key.public)
    verify(without_salt(read), key.public)
    assert not any(user_id in json.dumps(signed, ensure_ascii=False) for user_id in IDS[:2])


@pytest.mark.parametrize("change", ["done", "kind", "subjects", "more", "signature"])
def test_a_receipt_that_was_changed_is_refused(key, change):
    signed = key.sign(FACTS, IDS)
    if change == "signature":
        signed["signature"] = "A" * 86 + "=="
    elif change == "more":
        signed["receipt"]["note"] = ""
    else:
        signed["receipt"][change] = {"rows": 4, "found": 0} if change == "done" else "other"
    with pytest.raises(ReceiptError, match="changed after it was signed"):
        verify(signed, key.public)


def test_a_receipt_of_another_key_is_refused(key, tmp_path):
    other = ReceiptKey.load_or_create(tmp_path / "other.pem")
    with pytest.raises(ReceiptError, match="another key"):
        verify(other.sign(FACTS, IDS), key.public)
    with pytest.raises(ReceiptKeyError, match="no Ed25519 public key"):
        verify(key.sign(FACTS, IDS), "no key")


def test_only_the_file_shows_whom_a_receipt_is_about(key):
    signed = key.sign(FACTS, IDS)
    assert names_all(signed, IDS)
    assert names_all(signed, ["007"])
    assert not names_all(signed, ["7"])
    assert not names_all(signed, ["007", "ben"])
    with pytest.raises(ReceiptError, match="no salt"):
        names_all(without_salt(signed), IDS)
    assert not set(key.sign(FACTS, IDS)["receipt"]["subjects"]) & set(signed["receipt"]["subjects"])


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"receipt": 1, "signature": ""}', "[" * 100_000])
def test_a_text_that_is_no_receipt_is_refused(text):
    with pytest.raises(ReceiptError, match="this is no receipt"):
        read_receipt(text)


def test_a_key_that_others_can_read_or_that_is_damaged_is_refused(tmp_path, key):
    file = tmp_path / "keys" / "receipts.pem"
    file.chmod(0o644)
    with pytest.raises(ReceiptKeyError, match="mode 644"):
        ReceiptKey.load_or_create(file)
    file.chmod(0o600)
    file.write_text("secret text")
    with pytest.raises(ReceiptKeyError, match="no Ed25519 key") as refused:
        ReceiptKey.load_or_create(file)
    assert "secret text" not in str(refused.value)
    with pytest.raises(ReceiptKeyError, match="inside the lake"):
        ReceiptKey.load_or_create(tmp_path / "lake" / "key.pem", lake_url=str(tmp_path / "lake"))

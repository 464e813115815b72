"""Treatments as DuckDB runs them."""

import hashlib
import hmac
from datetime import datetime

import duckdb
import pytest

from data_contracts import Treatment, domain_key, hmac_pads, hmac_variables
from data_contracts.privacy import parse_treatment

KEYS = [b"k", b"a key of usual length, 32 bytes..", b"x" * 64, b"longer than one block of SHA-256 " * 4]


def run(treatment, values, sql_type="VARCHAR", key=None, zone="UTC"):
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = '{zone}'")
        if key:
            for variable, pad in zip(hmac_variables(treatment.domain("value")), hmac_pads(key), strict=True):
                connection.execute(f"SET VARIABLE {variable} = $pad", {"pad": pad})
        connection.execute(f'CREATE TABLE rows (place INTEGER, "value" {sql_type})')
        connection.executemany("INSERT INTO rows VALUES (?, ?)", list(enumerate(values)))
        query = f"SELECT {treatment.sql('value')} FROM rows ORDER BY place"
        return connection.sql(query).to_arrow_table().column(0).to_pylist()


@pytest.mark.parametrize("key", KEYS)
def test_a_pseudonym_is_the_first_half_of_hmac_sha256(key):
    texts = ["u7", "", "Ünïcode 🛒", "x" * 10_000, "it's", "a\nb\x00c"]
    expected = [hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32] for text in texts]

    assert run(Treatment("pseudonymize"), [*texts, None], key=key) == [*expected, None]


def test_another_key_gives_other_pseudonyms():
    assert run(Treatment("pseudonymize"), ["u7"], key=b"one") != run(
        Treatment("pseudonymize"), ["u7"], key=b"two"
    )


def test_without_a_key_the_query_fails_rather_than_lose_identifiers():
    with pytest.raises(duckdb.Error, match="bind the session variable hmac_outer_value"):
        run(Treatment("pseudonymize"), ["u7"])


def test_a_domain_has_the_key_that_the_documentation_names():
    derived = hmac.new(b"k" * 32, b"lastaisle/user_id", hashlib.sha256).digest()
    assert domain_key(b"k" * 32, "user_id") == derived
    assert domain_key(b"k" * 32, "session_id") != derived


def test_a_field_is_its_own_domain_unless_its_treatment_names_one():
    assert parse_treatment("pseudonymize").domain("employee") == "employee"
    assert parse_treatment({"pseudonymize": {"domain": "user_id"}}).domain("employee") == "user_id"
    assert run(Treatment("pseudonymize", {"domain": "user_id"}), ["u7"], key=b"k") == run(
        Treatment("pseudonymize"), ["u7"], key=b"k"
    )


def test_an_empty_key_is_refused():
    with pytest.raises(ValueError, match="empty"):
        hmac_pads(b"")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("second", "2025-10-09T23:50:30+00:00"),
        ("minute", "2025-10-09T23:50:00+00:00"),
        ("hour", "2025-10-09T23:00:00+00:00"),
        ("day", "2025-10-09T00:00:00+00:00"),
    ],
)
def test_a_time_is_cut_in_utc_in_any_session_time_zone(unit, expected, zone):
    cut = run(
        Treatment("coarsen", {"truncate": unit}),
        ["2025-10-09T23:50:30.999999Z", None],
        "TIMESTAMPTZ",
        zone=zone,
    )
    assert cut == [datetime.fromisoformat(expected), None]


def test_a_region_keeps_its_first_level():
    regions = ["DE-BY", "DE-BY-Augsburg", "US-CA 94016", "Bavaria", "", None]
    treatment = Treatment("coarsen", {"keep_prefix": "[A-Z]{2}-[A-Z0-9]{1,3}"})
    assert run(treatment, regions) == ["DE-BY", "DE-BY", "US-CA", None, None, None]


HOSTS = {
    "https://Shop.Example.com/cart?email=a@b.c": "shop.example.com",
    "http://user:secret@example.com:8080/x#frag": "example.com",
    "//cdn.example.com": "cdn.example.com",
    "android-app://com.google.android.gm/": "com.google.android.gm",
    "http://[2001:db8::1]:80/x": "[2001:db8::1]",
    "google.com": "google.com",
    "/account/4711": None,
    "jane.doe@example.com": None,
    "just text": None,
    "https://": None,
    "": None,
    None: None,
}


def test_a_referrer_keeps_its_host():
    assert run(Treatment("coarsen", {"host_only": True}), list(HOSTS)) == list(HOSTS.values())


def test_coarse_values_stay_as_they_are_when_treated_again():
    treatment = Treatment("coarsen", {"host_only": True})
    once = run(treatment, list(HOSTS))
    assert run(treatment, once) == [host if host and "[" not in host else None for host in once]


def test_keep_keeps_and_drop_has_no_expression():
    assert run(Treatment("keep"), ["a", None]) == ["a", None]
    with pytest.raises(ValueError, match="leave it out"):
        Treatment("drop").sql("value")


@pytest.mark.parametrize(
    "wrong",
    [
        "hash",
        None,
        7,
        {},
        {"coarsen": {}},
        {"coarsen": {"truncate": "year"}},
        {"coarsen": {"host_only": False}},
        {"coarsen": {"keep_prefix": "["}},
        {"coarsen": {"blur": 3}},
        {"pseudonymize": {"truncate": "hour"}},
        {"pseudonymize": {"domain": "user id'"}},
        {"pseudonymize": {"domain": "User"}},
        {"pseudonymize": {"domain": "_user"}},
        {"pseudonymize": {"domain": ""}},
        {"pseudonymize": {"domain": "u" * 51}},
        {"pseudonymize": {"domain": 7}},
        {"pseudonymize": {"domain": "user", "key": "other"}},
        {"coarsen": {"domain": "user"}},
        {"surrogate": {"domain": "user"}},
        {"keep": {"truncate": "hour"}},
        {"keep": {}, "drop": {}},
        "coarsen",
    ],
)
def test_an_unusable_treatment_is_refused_with_the_value_received(wrong):
    with pytest.raises(ValueError, match="received"):
        parse_treatment(wrong)

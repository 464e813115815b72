"""How people spell an id, a country, a currency, a device, a consent or a stock, as DuckDB SQL."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final

from data_contracts.privacy import literal

BLANKS: Final = " \t\r\n\v\f\u00a0\u3000\ufeff"
#: Texts that programs write for a missing value, in lower case; blanks around them do not count.
SPELLINGS_OF_NOTHING: Final = (
    *("", "null", "\\n", "none", "nil", "nan", "+nan", "-nan", "nat", "na", "n/a", "#n/a", "<na>"),
    *("undefined", "(null)", "<null>", "[null]", "(none)", "(not set)"),
)
YES: Final = (
    *(
        "true",
        "t",
        "1",
        "1.0",
        "yes",
        "y",
        "on",
        "granted",
        "grant",
        "allowed",
        "allow",
        "accepted",
        "accept",
    ),
    *("agreed", "given", "opt-in", "opt_in", "optin", "opted_in"),
)
NO: Final = (
    *(
        "false",
        "f",
        "0",
        "0.0",
        "no",
        "n",
        "off",
        "denied",
        "deny",
        "rejected",
        "reject",
        "declined",
        "refused",
    ),
    *("withdrawn", "none", "opt-out", "opt_out", "optout", "opted_out"),
)

_DEVICES: Final = {
    "mobile": ("phone", "smartphone", "mobile phone", "handset", "iphone", "android", "ios", "feature phone"),
    "tablet": ("ipad", "tab", "android tablet"),
    "desktop": ("pc", "computer", "laptop", "web", "personal computer", "windows", "macos", "mac", "linux"),
    "tv": ("smart tv", "smarttv", "smart_tv", "television", "ctv", "connected tv", "appletv", "apple tv"),
    "other": ("unknown", "console", "game console", "wearable", "watch", "bot", "embedded"),
}
#: What shops say of an article that can be ordered now, or not; blanks, `_` and `-` after a letter make no
#: difference. An article on pre-order or back-order can be ordered.
ORDERABLE: Final = (
    *("true", "t", "1", "1.0", "yes", "y", "on", "available", "instock", "limitedavailability", "onlineonly"),
    *("instoreonly", "preorder", "presale", "backorder", "madetoorder"),
)
NOT_ORDERABLE: Final = (
    *("false", "f", "0", "0.0", "no", "n", "off", "unavailable", "notavailable", "outofstock", "soldout"),
    *("discontinued", "reserved"),
)
_SCHEMA_ORG: Final = "^https?://schema.org/"
_AMBIGUOUS_SIGNS: Final = {"$", "¥", "¤"}
#: Codes that are no country of ISO 3166, and names that the Unicode list spells in another way.
_COUNTRIES_TOO: Final = {
    "UK": "GB",
    "EL": "GR",
    "UNITED STATES OF AMERICA": "US",
    "U.S.A.": "US",
    "U.S.": "US",
    "GREAT BRITAIN": "GB",
    "ENGLAND": "GB",
    "U.K.": "GB",
    "HOLLAND": "NL",
    "THE NETHERLANDS": "NL",
    "CZECH REPUBLIC": "CZ",
    "TURKEY": "TR",
    "KOREA": "KR",
    "REPUBLIC OF KOREA": "KR",
    "KOREA, REPUBLIC OF": "KR",
    "RUSSIAN FEDERATION": "RU",
    "VIET NAM": "VN",
    "HONG KONG": "HK",
    "MACAO": "MO",
    "IVORY COAST": "CI",
    "BURMA": "MM",
}


def spells_nothing(text: str) -> bool:
    """Tell whether a text only spells the absence of an id; two shoppers must not share `undefined`."""
    return text.strip(BLANKS).lower() in SPELLINGS_OF_NOTHING


def identifier_sql(text: str) -> str:
    """Return SQL of an id: a whole number with decimals as its digits; NULL for a text that is no id.

    Programs that know no missing integer write the id 123 as 123.0. A number with an exponent has lost its
    last digits. An object, a list or a truth value is no id.
    """
    # One test spares nearly all ids the others; trim is the slowest of them.
    blanks, decimals, exponent = f"[{BLANKS}]*", "\\.0+", "(\\.[0-9]+)?[eE]\\+[0-9]+"
    truth = "([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])"  # (?i) would also read the long s
    odd = f"^[{BLANKS}\\[{{]|[{BLANKS}]$|^([+-]?[0-9]+({decimals}|{exponent})|{truth})$"
    trimmed = f"trim({text}, {literal(BLANKS)})"
    return f"""CASE WHEN NOT regexp_matches({text}, '{odd}') THEN {text}
      WHEN regexp_full_match({text}, '{blanks}[+-]?[0-9]+{decimals}{blanks}')
        THEN regexp_extract({text}, '^{blanks}\\+?(-?[0-9]+)', 1)
      WHEN regexp_full_match({text}, '{blanks}[+-]?[0-9]+{exponent}{blanks}') THEN NULL
      WHEN regexp_full_match({text}, '{blanks}{truth}{blanks}') THEN NULL
      WHEN regexp_matches({text}, '^{blanks}[\\[{{]') AND json_valid({trimmed}) THEN NULL
      ELSE {trimmed} END"""


def identifier(text: str) -> str | None:
    """Return an id as `identifier_sql` reads it; None for a text that is no id."""
    trimmed = text.strip(BLANKS)
    if re.fullmatch(r"[+-]?[0-9]+\.0+", trimmed):
        return trimmed.partition(".")[0].removeprefix("+")
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?[eE]\+[0-9]+|(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE])", trimmed):
        return None
    if trimmed[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            json.loads(trimmed)  # as DuckDB, it knows NaN
            return None
    return trimmed


def country_sql(text: str) -> str:
    """Return SQL of a country's two letters; a text that names no country stays unchanged."""
    code = f"upper(trim({text}, {literal(BLANKS)}))"
    return f"""CASE WHEN regexp_full_match({text}, '[A-Z]{{2}}') AND {text} NOT IN ('UK', 'EL') THEN {text}
      ELSE coalesce({_lookup(_countries(), code)}, {code}) END"""


def currency_sql(text: str) -> str:
    """Return SQL of a currency's three letters; a sign of one currency counts, `$` is one of many."""
    code = f"upper(trim({text}, {literal(BLANKS)}))"
    return f"""CASE WHEN regexp_full_match({text}, '[A-Z]{{3}}') THEN {text}
      ELSE coalesce({_lookup(_currencies(), code)}, {code}) END"""


def device_type_sql(text: str) -> str:
    """Return SQL of a type of device, in lower case; a text that names none stays unchanged."""
    known = ", ".join(map(literal, _DEVICES))
    word = f"lower(trim({text}, {literal(BLANKS)}))"
    names = {name: device for device, others in _DEVICES.items() for name in others}
    return f"CASE WHEN {text} IN ({known}) THEN {text} ELSE coalesce({_lookup(names, word)}, {word}) END"


def consent_sql(text: str) -> str:
    """Return SQL of a consent as true or false; a text that says neither stays unchanged."""
    word = f"lower(trim({text}, {literal(BLANKS)}))"
    yes, no = (", ".join(map(literal, words)) for words in (YES, NO))
    return f"""CASE WHEN {text} IN ('true', 'false') THEN {text}
      WHEN {word} IN ({yes}) THEN 'true' WHEN {word} IN ({no}) THEN 'false' ELSE {text} END"""


def availability_sql(text: str) -> str:
    """Return SQL of a stock as true or false; a text that says neither stays unchanged.

    Google's words (in_stock, out_of_stock, preorder, backorder) and those of schema.org are known.
    """
    bare = f"regexp_replace(trim(lower({text}), {literal(BLANKS)}), {literal(_SCHEMA_ORG)}, '')"
    word = f"regexp_replace({bare}, '([a-z])[ _-]+', '\\1', 'g')"  # the sign of -1 stays
    yes, no = (", ".join(map(literal, words)) for words in (ORDERABLE, NOT_ORDERABLE))
    return f"""CASE WHEN {text} IN ('true', 'false') THEN {text}
      WHEN {word} IN ({yes}) THEN 'true' WHEN {word} IN ({no}) THEN 'false' ELSE {text} END"""


#: The values of the custom property `spelling` of a field, each with its SQL and the type of the field.
SPELLINGS: Final[Mapping[str, tuple[Callable[[str], str], str]]] = {
    "identifier": (identifier_sql, "string"),
    "country": (country_sql, "string"),
    "currency": (currency_sql, "string"),
    "device_type": (device_type_sql, "string"),
    "consent": (consent_sql, "boolean"),
    "availability": (availability_sql, "boolean"),
}


def check_spelling(spelling: Any, logical_type: str | None) -> None:
    """Refuse a custom property `spelling` that is unknown, or that belongs to another type.

    Raises:
        ValueError: the message names the spellings, or the type.
    """
    if spelling not in SPELLINGS:
        raise ValueError(f"customProperties.spelling is one of {', '.join(SPELLINGS)}; received {spelling!r}")
    needed = SPELLINGS[spelling][1]
    if logical_type != needed:
        raise ValueError(
            f"customProperties.spelling: {spelling} needs a {needed}, this field is a {logical_type}"
        )


def _lookup(values: Mapping[str, str], key: str) -> str:
    """Return SQL of the value of a key. DuckDB reads one JSON text sooner than hundreds of constants."""
    table = literal(json.dumps(values, ensure_ascii=False))
    return f"json_transform({table}, '\"MAP(VARCHAR, VARCHAR)\"')[{key}]"


@cache
def _countries() -> dict[str, str]:
    """Map codes of three letters or digits, and English names, to the two letters of ISO 3166."""
    from babel.core import Locale, get_global  # here, so that a contract without countries needs no names

    names = Locale("en").territories
    countries = {name.upper(): code for code, name in names.items() if len(code) == 2 and code.isalpha()}
    aliases = get_global("territory_aliases")
    countries |= {code: new[0] for code, new in aliases.items() if len(code) == 3 and len(new) == 1}
    return countries | _COUNTRIES_TOO


@cache
def _currencies() -> dict[str, str]:
    """Map the signs that belong to one currency, and English names, to the three letters of ISO 4217."""
    from babel.core import Locale  # here, for the same reason

    english = Locale("en")
    signs = {sign.upper(): code for code, sign in english.currency_symbols.items() if not sign.isalpha()}
    names = {name.upper(): code for code, name in english.currencies.items() if len(code) == 3}
    return {key: code for key, code in (names | signs).items() if key not in _AMBIGUOUS_SIGNS} | {
        "EURO": "EUR",
        "US$": "USD",
    }

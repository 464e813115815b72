"""Tell which kinds of personal data a text holds; libraries judge each candidate."""

from __future__ import annotations

import html
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, get_args
from urllib.parse import unquote

from email_validator import EmailNotValidError, validate_email
from phonenumbers import PhoneNumberMatcher
from stdnum import ean, iban, luhn

from data_contracts.scans import Scan

Kind = Literal["email", "phone", "card", "ip", "iban"]
#: The kinds that count in a field, by the scan that its contract names. Article numbers often look like the
#: numbers of telephones and cards.
KINDS: Final[dict[Scan, tuple[Kind, ...]]] = {
    "text": get_args(Kind),
    "identifier": ("email", "ip", "iban"),
    "none": (),
}

_WIDE: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_ADDRESS: Final = re.compile(r"(?:https?:/)?/\S*")
_EMAIL: Final = re.compile(r"[^\s@<>()\[\]\",;:=/?&|\\]{1,64}@(?:[^\W_](?:[\w-]{0,62})\.)+[^\W\d_][\w-]+")
_DENSITY: Final = re.compile(r"\d(?:\.\d)?x\.", re.ASCII)  # logo@2x.png, a picture for sharp screens
#: Names that only networks of their own use; the library takes no address in them for one.
_RESERVED: Final = re.compile(r"\.(test|local|invalid|onion|arpa)$", re.IGNORECASE)
_CARD: Final = re.compile(r"(?<![0-9A-Za-z])\d(?:[ -]?\d){13,18}(?![0-9A-Za-z])", re.ASCII)
#: Visa, Mastercard, American Express, Diners, Discover, JCB and UnionPay, with the lengths in use.
_ISSUED: Final = re.compile(
    r"4\d{15}(\d{3})?|5[1-5]\d{14}|2(22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(0[0-5]|[689]\d)\d{11}|6(011|5\d\d|4[4-9]\d)\d{12}|35(2[89]|[3-8]\d)\d{12}|62\d{14,17}",
    re.ASCII,
)
_IBAN: Final = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}\d\d(?:[ -]?[A-Za-z0-9]){11,30}", re.ASCII)
_IBAN_LENGTHS: Final = range(15, 35)
_IPV4: Final = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)", re.ASCII)
_VERSION: Final = re.compile(r"(?:\bv|\bver|version|release|firmware|build|rev)[\s.:]*$", re.IGNORECASE)
_IPV6: Final = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", re.ASCII)
_IPV6_GROUPS: Final = 3  # `a::b` may be a name of two parts
_HOST: Final = re.compile(r"^\w+://[^/?#]*")  # the address of a server is not that of a shopper
_ABROAD: Final = re.compile(r"(?<!\d)00(?=[1-9])", re.ASCII)


def kinds_in(text: str, scan: Scan = "text", countries: Sequence[str] = ()) -> list[Kind]:
    """Return the kinds of personal data that a text holds, in the order of `KINDS`.

    Percent-encoding and HTML's character references are decoded first. Long numbers in the address of a page
    are those of articles, so an address is searched as an identifier.

    Args:
        text: the text.
        scan: the kinds that count.
        countries: the countries (ISO 3166) whose national telephone numbers are searched, beside
            international numbers, which begin with + or 00.
    """
    tests: dict[Kind, Callable[[str], bool]] = {
        "email": _has_email,
        "phone": lambda plain: _has_phone(plain, countries),
        "card": _has_card,
        "ip": _has_ip,
        "iban": _has_iban,
    }
    plain = _decoded(text)
    if scan == "text" and _ADDRESS.fullmatch(plain):
        scan = "identifier"
    return [kind for kind in KINDS[scan] if tests[kind](plain)]


def _decoded(text: str) -> str:
    """Return a text without percent-encoding, character references, and wide forms of letters and digits."""
    return html.unescape(unquote(text)).translate(_WIDE)


def _has_email(text: str) -> bool:
    return any(map(_is_email, _EMAIL.findall(text)))


def _is_email(candidate: str) -> bool:
    address = candidate.strip(".'`*_-!#$%+{}~^").removeprefix("mailto:")
    if _DENSITY.match(address.rpartition("@")[2]):
        return False
    address = _RESERVED.sub(".example.org", address)
    try:
        validate_email(address, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        return False
    return True


def _has_phone(text: str, countries: Sequence[str]) -> bool:
    international = _ABROAD.sub("+", text)
    if any(True for _ in PhoneNumberMatcher(international, None)):
        return True
    found = (match.raw_string for country in countries for match in PhoneNumberMatcher(text, country))
    # Digits alone that do not begin with 0 are the number of a category rather than of a telephone.
    return any(not number.isdecimal() or unicodedata.decimal(number[0]) == 0 for number in found)


def _has_card(text: str) -> bool:
    digits = (re.sub(r"\D", "", found) for found in _CARD.findall(text))
    return any(
        _ISSUED.fullmatch(number) is not None and luhn.is_valid(number) and not ean.is_valid(number)
        for number in digits
    )


def _has_iban(text: str) -> bool:
    for found in _IBAN.findall(text):
        compact = re.sub(r"[ -]", "", found)
        if any(iban.is_valid(compact[:length]) for length in _IBAN_LENGTHS if length <= len(compact)):
            return True
    return False


def _has_ip(text: str) -> bool:
    return any(map(_is_of_a_shopper, _addresses(_HOST.sub("", text))))


def _addresses(text: str) -> Iterator[str]:
    for found in _IPV4.finditer(text):
        if not _VERSION.search(text[: found.start()]):
            yield found[0]
    for found in _IPV6.finditer(text):
        if sum(map(bool, found[0].split(":"))) >= _IPV6_GROUPS:
            yield found[0]


def _is_of_a_shopper(candidate: str) -> bool:
    """Tell whether a text is an IP address that may be that of a shopper: not 0.x.x.x and not 127.x.x.x."""
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or candidate.startswith("0."))

"""The formats of catalogues: tables of any shop (`items`), and the feeds of Google Merchant Center.

A column may stand under several names, in a header or in JSON objects; capitals, blanks, `-` and `_` make no
difference. A price may hold its currency, such as `12.50 EUR`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lastaisle.errors import SourceError
from lastaisle.ingest.sources.adapter import Adapter
from lastaisle.ingest.sources.columns import Columns, HeaderError
from lastaisle.ingest.sources.layout import fitted

_NAMES: Final[dict[str, Sequence[str]]] = {
    "item_id": ("item_id", "id", "product_id", "sku", "article_id", "offer_id"),
    "valid_from": ("valid_from", "updated_at", "changed_at"),
    "title": ("title", "name", "product_name", "item_name"),
    "category": ("category", "product_type", "category_id", "category_code", "category_name"),
    "brand": ("brand", "vendor", "manufacturer"),
    "price": ("price", "unit_price"),
    "currency": ("currency", "currency_code", "price_currency"),
    "available": ("available", "availability", "in_stock", "is_available"),
    "image": ("image", "image_url", "image_link"),
    "url": ("url", "link", "product_url"),
    "removed": ("removed", "deleted", "is_deleted"),
}
#: https://support.google.com/merchants/answer/7052112
_GOOGLE_NAMES: Final[dict[str, Sequence[str]]] = {
    "item_id": ("id",),
    "title": ("title",),
    "product_type": ("product_type",),
    "google_product_category": ("google_product_category",),
    "brand": ("brand",),
    "price": ("price",),
    "sale_price": ("sale_price",),
    "sale_price_effective_date": ("sale_price_effective_date",),
    "available": ("availability",),
    "image": ("image_link",),
    "url": ("link",),
}
#: The columns in which `none` or `n/a` is a value: a brand may be named None, and a stock of none is no
#: missing stock, which would mean that the item can be ordered.
_TEXTS: Final = frozenset(
    {"title", "category", "brand", "product_type", "google_product_category", "image", "url", "available"}
)

_CURRENCY: Final = "[A-Za-z]{3}|[€£$¥]"
_BLANK: Final = "[ \u00a0\u202f]*"
#: A price, with or without its currency: before the amount (group 1), the amount (2), after the amount (3).
_PRICE: Final = (
    f"^{_BLANK}({_CURRENCY})?{_BLANK}([0-9][0-9.,'\u2019 \u00a0\u202f]*?){_BLANK}({_CURRENCY})?{_BLANK}$"
)


def amount_sql(text: str) -> str:
    """Return SQL of the number in a price; a text that is no price stays unchanged, and breaks its type.

    The last of several different signs is the decimal sign. One comma is a decimal sign, but before groups of
    three digits it parts thousands, since Google's feeds write the decimals after a point.
    """
    bare = f"regexp_replace(regexp_extract({text}, '{_sql(_PRICE)}', 2), '[ \u00a0\u202f''\u2019]', '', 'g')"
    thousands = r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?"
    points = r"[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?"
    number = f"""CASE WHEN regexp_full_match({bare}, '{thousands}') THEN replace({bare}, ',', '')
        WHEN contains({bare}, ',') AND regexp_full_match({bare}, '{points}')
          OR regexp_full_match({bare}, '[0-9]{{1,3}}(\\.[0-9]{{3}}){{2,}}')
          THEN replace(replace({bare}, '.', ''), ',', '.')
        WHEN regexp_full_match({bare}, '[0-9]+,[0-9]*') THEN replace({bare}, ',', '.')
        ELSE {bare} END"""
    return f"""CASE WHEN regexp_full_match({text}, '[0-9.]+') THEN {text}
        WHEN regexp_matches({text}, '{_sql(_PRICE)}') THEN {number} ELSE {text} END"""


def currency_in_sql(text: str) -> str:
    """Return SQL of the currency in a price; NULL if it has none."""
    before, after = (f"nullif(regexp_extract({text}, '{_sql(_PRICE)}', {group}), '')" for group in (3, 1))
    return f"coalesce({before}, {after})"


#: Whether Google's sale price counts now. An interval that cannot be read leaves the usual price.
_ON_SALE: Final = """(c.sale_price IS NOT NULL AND coalesce(
    CASE WHEN c.sale_price_effective_date IS NULL THEN true ELSE $now::TIMESTAMPTZ BETWEEN
      TRY_CAST(split_part(c.sale_price_effective_date, '/', 1) AS TIMESTAMPTZ)
      AND TRY_CAST(split_part(c.sale_price_effective_date, '/', 2) AS TIMESTAMPTZ) END, false))"""
_GOOGLE_PRICE: Final = f"CASE WHEN {_ON_SALE} THEN c.sale_price ELSE c.price END"


def _sql(pattern: str) -> str:
    return pattern.replace("'", "''")


ITEMS: Final = Adapter(
    "items",
    fields={
        **{name: f"c.{name}" for name in _NAMES},
        "price": amount_sql("c.price"),
        "currency": f"coalesce(c.currency, {currency_in_sql('c.price')})",
    },
    columns=Columns(names=_NAMES, orders=[], needed=("item_id",), time="title", texts=_TEXTS),
)
GOOGLE_MERCHANT: Final = Adapter(
    "google_merchant",
    fields={
        "item_id": "c.item_id",
        "title": "c.title",
        "category": "coalesce(c.product_type, c.google_product_category)",
        "brand": "c.brand",
        "price": amount_sql(f"({_GOOGLE_PRICE})"),
        "currency": currency_in_sql(f"({_GOOGLE_PRICE})"),
        "available": "c.available",
        "image": "c.image",
        "url": "c.url",
    },
    columns=Columns(names=_GOOGLE_NAMES, orders=[], needed=("item_id",), time="title", texts=_TEXTS),
)
_USE: Final = "use --format {0} (LASTAISLE_CATALOGUE_FORMAT for DAGs)"
_ADAPTERS: Final = {adapter.name: adapter for adapter in (ITEMS, GOOGLE_MERCHANT)}
FORMATS: Final = tuple(_ADAPTERS)


def catalogue_adapter(name: str) -> Adapter:
    """Return the adapter of a format of catalogues.

    Raises:
        SourceError: the format is unknown; the message names the known formats.
    """
    if name not in _ADAPTERS:
        raise SourceError(f"there is no catalogue format {name!r}; formats are {', '.join(FORMATS)}")
    return _ADAPTERS[name]


def guess_catalogue_format(lines: Sequence[str], tried: str) -> tuple[str | None, str]:
    """Return another format whose columns the first lines name, and a sentence about it for the user.

    Args:
        lines: the first lines of a file.
        tried: the format that does not read them.
    """
    if tried != GOOGLE_MERCHANT.name and lines and lines[0].lstrip("\ufeff").lstrip().startswith("<"):
        return GOOGLE_MERCHANT.name, f"The file begins like XML: {_USE.format(GOOGLE_MERCHANT.name)}"
    for adapter in _ADAPTERS.values():
        if adapter.name != tried and adapter.columns is not None and lines and _names_columns(adapter, lines):
            return adapter.name, f"The first lines name its columns: {_USE.format(adapter.name)}"
    return None, "docs/catalogue.md lists the columns of each format"


def _names_columns(adapter: Adapter, lines: Sequence[str]) -> bool:
    try:
        layout = fitted(adapter, list(lines[:100])).layout
    except HeaderError:
        return False
    return layout is not None and layout.header is not None

"""Segment's e-commerce spec, which RudderStack, PostHog and others share: names of events, and products.

https://segment.com/docs/connections/spec/ecommerce/v2/ and, for the older names, the first version of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from data_contracts.privacy import literal
from data_contracts.spellings import identifier_sql
from lastaisle.ingest.sources.adapter import present
from lastaisle.ingest.sources.json_lines import is_object, transform, twice

_NAMES: Final = {
    "item_viewed": ("product viewed", "product clicked", "viewed product", "clicked product"),
    "item_added": ("product added", "added product", "wishlist product added to cart"),
    "item_removed": ("product removed", "removed product"),
    "page_viewed": (
        *("cart viewed", "viewed cart", "product list viewed", "viewed product list"),
        *("viewed product category", "products searched", "searched products"),
    ),
    "checkout_started": ("checkout started", "started checkout"),
    "order_completed": ("order completed", "completed order"),
}
_EXPANDED: Final = ("checkout_started", "order_completed")
#: The properties of a product; each may also stand beside the list of products.
PRODUCT: Final = (
    *(
        "product_id",
        "productId",
        "sku",
        "id",
        "item_id",
        "price",
        "quantity",
        "category",
        "brand",
        "currency",
    ),
)
_IDS: Final = ("product_id", "productId", "item_id", "sku", "id")
PROPERTIES: Final = (*PRODUCT, "products", "order_id", "orderId", "session_id", "dwell_ms", "referrer")

#: The reason of a row whose products cannot be read, or of a product without an id.
PRODUCT_REASON: Final = f"""CASE WHEN product_text IS NULL THEN NULL
    WHEN NOT {is_object("product_text")} THEN 'products_unreadable'
    WHEN {twice("TRY_CAST(product_text AS JSON)")} THEN 'duplicate_key'
    WHEN item_id IS NULL THEN 'product_without_id' END"""


def event_type(name: str, names: Mapping[str, Sequence[str]] = _NAMES) -> str:
    """Return SQL of the type of an event by its name, or NULL for a name that is none of those given.

    Capitals do not count, and blanks may be underscores or hyphens.

    Args:
        name: the SQL of the name.
        names: the names of each type, in lower case; by default all names of the spec.
    """
    cases = " ".join(
        f"WHEN {literal(spelled)} THEN {literal(type_)}"
        for type_, spellings in names.items()
        for spelled in spellings
    )
    return f"CASE lower(trim(regexp_replace({name}, '[ _-]+', ' ', 'g'))) {cases} END"


def with_products(
    source: str,
    properties: str,
    event: str,
    *,
    expanded: Sequence[str] = _EXPANDED,
    of_product: Sequence[str] = PRODUCT,
) -> str:
    """Return a SELECT with one row a product of some events, by default checkouts and orders, else one row.

    It adds _sub_row, product_text (the product as JSON; NULL without products), product (its properties) and
    item_id. The products may be a list, a map of positions to products, or one product; each may be a text
    that holds JSON.

    Args:
        source: the SELECT of the relation to read, with a column _sub_row that is replaced.
        properties: the struct of `PROPERTIES`.
        event: the SQL of the event type.
        expanded: the types of the events with one row a product.
        of_product: the properties of a product.
    """
    types = ", ".join(map(literal, expanded))
    products = f"{properties}.products"
    listed = transform(products, ["VARCHAR"])
    as_map = transform(products, "MAP(VARCHAR, VARCHAR)")
    other_names = "list_filter(map_keys(product_map), lambda name: NOT regexp_full_match(name, '[0-9]+'))"
    source = f"""SELECT *,
      coalesce({event} IN ({types}) AND trim({products}) <> '', false) AS has_products,
      CASE WHEN starts_with(ltrim({products}), '{{') THEN {as_map} END AS product_map FROM ({source})"""
    source = f"""SELECT * EXCLUDE (_sub_row, product_map), CASE WHEN NOT has_products THEN [NULL]
      WHEN starts_with(ltrim({products}), '[') THEN coalesce({listed}, ['not a list'])
      WHEN len({other_names}) = 0 THEN map_values(product_map)
      ELSE [{products}] END AS product_list FROM ({source})"""
    # Without products there is still the order itself. A NULL in a list is a product that cannot be read.
    source = f"""SELECT * EXCLUDE (product_list, has_products), CASE WHEN len(product_list) = 0 THEN [NULL]
      WHEN has_products THEN list_transform(product_list, lambda item: coalesce(item, 'null'))
      ELSE product_list END AS product_list FROM ({source})"""
    source = f"""SELECT * EXCLUDE (product_list), unnest(product_list) AS product_text,
      unnest(range(len(product_list))) AS _sub_row FROM ({source})"""
    product = transform("product_text", dict.fromkeys(of_product, "VARCHAR"))
    id_of_call, id_of_product = (
        f"coalesce({', '.join(present(f'{place}.{name}') for name in _IDS)})"
        for place in (properties, "product")
    )
    return f"""SELECT *, CASE WHEN product_text IS NULL THEN {id_of_call} ELSE {id_of_product} END AS item_id
      FROM (SELECT *, {product} AS product FROM ({source}))"""


def product_fields() -> dict[str, str]:
    """Return the SQL of the fields that a product and its call `p` tell, by their canonical names.

    Beside a list of products, quantity, price, category and brand of the call belong to none of them.
    """
    own = {
        name: f"CASE WHEN product_text IS NULL THEN p.{name} ELSE product.{name} END"
        for name in ("quantity", "price", "category", "brand")
    }
    return own | {
        "currency": "coalesce(nullif(product.currency, ''), p.currency)",
        "order_id": f"coalesce({present('p.order_id')}, p.orderId)",
        "dwell_ms": "p.dwell_ms",
    }


def event_id(message: str) -> str:
    """Return SQL of the event id: that of the call, with the position of the product."""
    known = identifier_sql(f"({present(message)})")
    return f"CASE WHEN product_text IS NOT NULL THEN {known} || ':' || _sub_row ELSE {message} END"

"""The consent of a shopper, in the forms in which consent managers write it.

A record is the text that a line holds as the shopper's consent. These forms are read:

- a map of categories: {"analytics": true, "personalization": "denied"}, perhaps under the name
  categoryPreferences (Segment); the values of OneTrust are "1" and "0",
- lists of what is allowed and what is denied: allowedConsentIds and deniedConsentIds (RudderStack),
- a list of what is allowed: ["analytics"], or OnetrustActiveGroups: ",C0001,C0002,", or "C0001:1,C0002:0",
- a plain no: false, "denied".

Capitals do not count. A category that the record does not name is refused. A record that names none of the
shop's categories, and any other text, is unreadable; it never counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from data_contracts.contract import Contract
from data_contracts.field import Field
from data_contracts.privacy import literal
from data_contracts.spellings import BLANKS, NO, consent_sql
from lastaisle.ingest.sources.json_lines import transform
from lastaisle.settings import Settings

UNREADABLE: Final = "consent_unreadable"
_PREFIX: Final = "consent_"
#: The names of the two categories in Google's consent mode.
_ALSO_CALLED: Final = {
    "analytics": ("analytics_storage",),
    "personalization": ("personalization_storage", "ad_personalization"),
    "sale": ("ad_user_data",),
}
_SALE: Final = "consent_sale"


@dataclass(frozen=True)
class Consent:
    """The SQL that reads the consent fields of a contract.

    Attributes:
        names: the names of each field's category in a record, in lower case.
        configured: whether the shop gave names of its own. Then a list that allows none of them is a refusal.
    """

    names: Mapping[str, tuple[str, ...]]
    configured: bool

    @classmethod
    def of(cls, contract: Contract) -> Consent:
        """Read the categories of a contract and of LASTAISLE_CONSENT_CATEGORIES.

        The category of a consent field is the rest of its name after consent_.
        """
        own = Settings.from_env().sources.categories()
        names = {}
        for field in consent_fields(contract):
            category = field.name.removeprefix(_PREFIX)
            leaf = field.json_path.rpartition(".")[2]
            all_names = (category, leaf, *_ALSO_CALLED.get(category, ()), *own.get(category, ()))
            names[field.name] = tuple(dict.fromkeys(name.strip().lower() for name in all_names))
        return cls(names, bool(own))

    def columns(self, record: str, source: str) -> str:
        """Return a SELECT that adds the columns that `field` and `unreadable` need.

        Args:
            record: the SQL of the record as text; NULL without a record.
            source: the SELECT of the relation to read.
        """
        as_map = transform("consent_record", "MAP(VARCHAR, VARCHAR)")
        as_list = transform("consent_record", ["VARCHAR"])
        return f"""
SELECT * EXCLUDE (consent_map, consent_list),
  CASE WHEN consent_plain THEN false
    ELSE lower(trim(consent_record, {literal(BLANKS)})) IN {_among(NO)} END AS consent_refused,
  consent_list IS NOT NULL OR consent_map['OnetrustActiveGroups'] IS NOT NULL AS consent_listed,
  CASE WHEN consent_record IS NULL OR consent_plain THEN NULL
    WHEN consent_list IS NOT NULL THEN {_allowed("consent_list")}
    WHEN consent_map['OnetrustActiveGroups'] IS NOT NULL
      THEN {_allowed("string_split(consent_map['OnetrustActiveGroups'], ',')")}
    WHEN consent_map['allowedConsentIds'] IS NOT NULL OR consent_map['deniedConsentIds'] IS NOT NULL
      THEN {_allowed(_ids("allowedConsentIds"))} || {_denied(_ids("deniedConsentIds"))}
    WHEN consent_map['categoryPreferences'] IS NOT NULL
      THEN map_entries({transform("consent_map['categoryPreferences']", "MAP(VARCHAR, VARCHAR)")})
    ELSE map_entries(consent_map) END AS consent_choices
FROM (SELECT *,
    CASE WHEN consent_plain THEN NULL WHEN starts_with(ltrim(consent_record), '{{') THEN {as_map}
      END AS consent_map,
    CASE WHEN consent_plain THEN NULL WHEN starts_with(ltrim(consent_record), '[') THEN {as_list}
      WHEN regexp_full_match(consent_record, '[^{{]*[,:][^{{]*') THEN string_split(consent_record, ',')
      END AS consent_list
  FROM (SELECT *,
      coalesce(regexp_full_match(consent_record, {literal(self._plain())}), false) AS consent_plain
    FROM (SELECT *, {record} AS consent_record FROM ({source}))))"""

    def _plain(self) -> str:
        """Return a pattern of the usual record: each category once, as true or false. It needs no parsing."""
        categories = [f'"{_any_capital(names[0])}":(true|false)' for names in self.names.values()]
        fewest = len(categories) - (_SALE in self.names)  # many shops ask nothing of the sale
        all_names = [name for names in self.names.values() for name in names]
        if len(categories) > 3 or len(set(all_names)) < len(all_names):
            return "-"  # many orders, or a name that decides two fields
        sizes = {fewest, len(categories)}
        orders = "|".join(",".join(order) for size in sizes for order in permutations(categories, size))
        return rf"\{{({orders})\}}|\{{\"categoryPreferences\":\{{({orders})\}}\}}"

    def field(self, name: str, otherwise: str = "NULL") -> str:
        """Return the SQL of a consent field as text.

        Args:
            name: the field.
            otherwise: the SQL of the value beside the record, for a record that does not name the category;
                NULL is no consent beside a record, and stays NULL without one.
        """
        values = f"""list_transform(list_filter(consent_choices,
            lambda choice: choice.value IS NOT NULL AND {_key_among(self.names[name])}),
          lambda choice: {consent_sql("choice.value")})"""
        category = self.names[name][0]
        says = {
            word: " OR ".join(
                f"contains(consent_record, {literal(each)})"
                for each in (f'"{category}":{word}', f'"{category.capitalize()}":{word}')
            )
            for word in ("true", "false")
        }
        return f"""CASE WHEN consent_plain
        THEN CASE WHEN {says["true"]} THEN 'true' WHEN {says["false"]} THEN 'false'
          ELSE coalesce({otherwise}, 'false') END
      WHEN consent_refused THEN 'false'
      WHEN {_ABSENT} THEN {otherwise}
      WHEN len({values}) = 0 THEN coalesce({otherwise}, 'false')
      WHEN list_contains({values}, 'false') THEN 'false'
      ELSE coalesce(list_filter({values}, lambda value: value <> 'true')[1], 'true') END"""

    def unreadable(self) -> str:
        """Return SQL of the reason why a record cannot be read, or NULL."""
        names = [name for names in self.names.values() for name in names]
        named = f"len(list_filter(consent_choices, lambda choice: {_key_among(names)}))"
        allowed = "NOT consent_listed AND " if self.configured else ""
        return f"""CASE WHEN consent_plain THEN NULL
      WHEN consent_record IS NOT NULL AND NOT consent_refused AND {allowed}
      coalesce({named}, 0) = 0 AND NOT coalesce({_ABSENT}, false) THEN '{UNREADABLE}' END"""


def with_opt_outs(fields: Mapping[str, str], gpc: str, do_not_sell: str) -> dict[str, str]:
    """Return the SQL of consent fields, which an opt-out refuses whatever the record of consent says.

    Global Privacy Control refuses the purposes of LASTAISLE_GPC_REFUSES, Do Not Sell refuses the sale. Any
    text counts as an opt-out, unless it says no.

    Args:
        fields: the SQL of consent fields, by their names.
        gpc: the SQL of the text of Global Privacy Control; NULL without one.
        do_not_sell: the SQL of the text of Do Not Sell; NULL without one.
    """
    refused = Settings.from_env().privacy.refused_by_gpc
    opts_out = [f"coalesce({consent_sql(text)} <> 'false', false)" for text in (gpc, do_not_sell)]
    named = {
        name: [opts_out[0]] * (name.removeprefix(_PREFIX) in refused) + [opts_out[1]] * (name == _SALE)
        for name in fields
    }
    return {
        name: f"CASE WHEN {' OR '.join(named[name])} THEN 'false' ELSE {sql} END" if named[name] else sql
        for name, sql in fields.items()
    }


def consent_fields(contract: Contract) -> list[Field]:
    """Return the consent fields of a contract: the booleans whose names begin with consent_."""
    return [
        field
        for field in contract.fields
        if field.logical_type == "boolean" and field.name.startswith(_PREFIX)
    ]


#: Parquet writes an absent record as a map whose values are all NULL.
_ABSENT = """(consent_record IS NULL OR (len(consent_choices) > 0
        AND len(list_filter(consent_choices, lambda choice: choice.value IS NOT NULL)) = 0))"""


def _any_capital(name: str) -> str:
    return f"({re.escape(name)}|{re.escape(name.capitalize())})"


def _key_among(names: Sequence[str]) -> str:
    return f"lower(trim(choice.key)) IN {_among(names)}"


def _among(texts: Sequence[str]) -> str:
    return f"({', '.join(map(literal, texts))})"


def _ids(name: str) -> str:
    return transform(f"coalesce(consent_map['{name}'], '[]')", ["VARCHAR"])


def _allowed(names: str) -> str:
    """Return SQL of the choices of a list of names; OneTrust writes a name with 1 or 0 behind a colon."""
    value = "coalesce(nullif(split_part(name, ':', 2), ''), 'true')"
    return f"list_transform({names}, lambda name: {{'key': split_part(name, ':', 1), 'value': {value}}})"


def _denied(names: str) -> str:
    return f"list_transform({names}, lambda name: {{'key': name, 'value': 'false'}})"

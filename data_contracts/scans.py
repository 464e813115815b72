"""Which kinds of personal data are searched in the values of a field."""

from __future__ import annotations

from typing import Final, Literal, get_args

from data_contracts.privacy import Treatment

#: `text`: every kind. `identifier`: kinds that no article number looks like. `none`: nothing is searched.
Scan = Literal["text", "identifier", "none"]
SCANS: Final[tuple[Scan, ...]] = get_args(Scan)


def choose_scan(
    given: object, logical_type: str, spelling: str | None, classification: str, treatment: Treatment
) -> Scan:
    """Return the scan of a field: the one that its contract names, else the one that fits the field.

    Texts that reach `events` as they are, or coarsened, are searched. A pseudonym is no text of the shop, and
    a closed list such as the countries holds no other values.

    Raises:
        ValueError: the contract names an unknown scan, or a scan of a field that is no text.
    """
    if given is not None:
        if given not in SCANS:
            raise ValueError(f"customProperties.scan is one of {', '.join(SCANS)}; received {given!r}")
        if logical_type != "string" and given != "none":
            raise ValueError(f"customProperties.scan: {given} needs a string, this field is a {logical_type}")
        return next(scan for scan in SCANS if scan == given)
    is_kept = treatment.action in ("keep", "coarsen") and classification != "pseudonymous"
    if logical_type != "string" or not is_kept:
        return "none"
    if spelling is None:
        return "text"
    return "identifier" if spelling == "identifier" else "none"

"""The bodies of requests and answers. Their types decode them, check them, and make their JSON schemas."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from lastaisle.web.refusal import RefusedError

if TYPE_CHECKING:
    from lastaisle.serve.trials.assigned import Assigned

CONTEXT: Final = ("device_type", "country", "region", "started_at", "event_type", "dwell_ms", "price")
"""The columns of context that models of this release may read, beside the shopper."""
USERS: Final = "user_id"
SESSIONS: Final = "session_id"
"""The two kinds of pseudonyms."""
USER: Final = "user"
"""The context column that holds the shopper's pseudonym."""
MAX_ITEMS: Final = 1000
"""The longest list of recommended items."""
MAX_IDS: Final = 10_000
"""The most ids in a list of a request."""
NO_CONTROLS: Final = r"^(?![\s\S]*[\x00-\x1f\x7f])"

Policy = Literal["model", "popular"]
Withheld = Literal["consent", "gpc", "withdrawn", "unknown", "switch"]
"""Why a list is not personal."""
Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROLS)]
Label = Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_CONTROLS)]
Pseudonym = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?![\s\S])", description="32 hexadecimal digits")]
ItemId = str | int | float
Value = str | int | float | None
Ids = Annotated[list[ItemId | None], Meta(max_length=MAX_IDS)]


class Question(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request for recommendations.

    Attributes:
        items: ids of the session's items, oldest first.
        context: values of context columns.
        user_id: the shop's own id of the shopper. It becomes a pseudonym before anything else reads it.
        pseudonym: the shopper's pseudonym, in place of `user_id`.
        session_id: the shop's own id of the visit. It becomes a pseudonym before anything else reads it. It
            decides the arm of an experiment where there is no shopper.
        session_pseudonym: the pseudonym of the visit, in place of `session_id`.
        cart: ids of the items in the cart; they are not recommended.
        exclude: ids of further items that are not recommended.
        k: the largest number of recommended items.
        exclude_seen: whether the session's own items are left out; by default as the version was judged.
        consent: whether the shopper agrees to personal recommendations. Without consent the list holds
            popular items, and nothing but counts is kept.
        personalize: `false` is a shopper's own switch for this list. It holds popular items; what the shopper
            does with the list is kept, since a switch is no refusal of consent.
        placement: where the list is shown.
        policy: `popular` asks for the list of popular items, for example in an arm of an experiment of the
            caller's own; by default `model`. A request that names a policy belongs to no experiment of the
            service.
        filter: which items may be recommended, as an expression over the fields of the catalogue.
        explain: whether each recommended item says why it is in the list.
    """

    items: Ids | None = None
    context: Annotated[dict[str, Value | list[Value]], Meta(max_length=50)] | None = None
    user_id: Text | int | None = None
    pseudonym: Pseudonym | None = None
    session_id: Text | int | None = None
    session_pseudonym: Pseudonym | None = None
    cart: Ids | None = None
    exclude: Ids | None = None
    k: Annotated[int, Meta(ge=1, le=MAX_ITEMS)] = 20
    exclude_seen: bool | None = None
    consent: bool = True
    personalize: bool = True
    placement: Label = "checkout"
    policy: Policy | UnsetType = UNSET
    filter: Annotated[str, Meta(max_length=2000)] | None = None
    explain: bool = False


class Carried(Struct):
    """An item of the session that speaks for a recommended item.

    Attributes:
        id: the item of the session.
        share: its part, 0 to 1, of what the items of the session add to the score: the score that is lost
            without it, of the sum of these losses.
    """

    id: str
    share: float


class Why(Struct, omit_defaults=True):
    """Why an item is in the list.

    Attributes:
        carried_by: the items of the session that speak most for it, at most three, the strongest first;
            missing where the list does not come from the session.
        popularity: the item's share of all events; missing for an item that the model does not know.
        rule: the rule of the shop that put it there; missing without one.
        experiment: the trial whose arm says how the list is made; missing without one.
        arm: that arm.
        propensity: the probability of that arm.
        explored: whether a bandit drew another arm than its policy prefers, to learn; missing without one.
    """

    carried_by: list[Carried] | UnsetType = UNSET
    popularity: float | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    experiment: str | UnsetType = UNSET
    arm: str | UnsetType = UNSET
    propensity: float | UnsetType = UNSET
    explored: bool | UnsetType = UNSET


class Recommended(Struct, omit_defaults=True):
    """A recommended item.

    Attributes:
        id: the item.
        score: the model's score, or the item's share of all events in a list of popular items; null for an
            item that the model does not know.
        reason: `model`, `popular`, or `rule:` and the name of the rule.
        title: the title in the catalogue, if it has one.
        because: the item of the session without which the score would be lowest; only if `explain` is true.
        why: what else speaks for the item; only if `explain` is true.
    """

    id: str
    score: float | None
    reason: str
    title: str | UnsetType = UNSET
    because: str | UnsetType = UNSET
    why: Why | UnsetType = UNSET


class Answer(Struct):
    """The recommended items, best first.

    Attributes:
        recommendation_id: the id of this list, for feedback.
        version: the version of the model that answered.
        model: the name of the model.
        policy: `model`; or `popular` if the request asks for it, or if the model knows nothing of this
            session or may not use it.
        items: the items.
        experiment: the experiment, bandit or canary that the list belongs to; missing without one.
        arm: its arm.
        propensity: the probability of the arm.
        not_personalized: why the list holds popular items though the model could answer: `consent`, the
            request says so; `gpc`, the header Sec-GPC; `withdrawn`, the shopper or the visit withdrew the
            consent; `unknown`, the service does not know yet who withdrew it; `switch`, `personalize` is
            false. Missing for other lists.
    """

    recommendation_id: str
    version: str
    model: str
    policy: Policy
    items: list[Recommended]
    experiment: str | UnsetType = UNSET
    arm: str | UnsetType = UNSET
    propensity: float | UnsetType = UNSET
    not_personalized: Withheld | UnsetType = UNSET


class Refusal(Struct):
    """A request was refused.

    Attributes:
        code: one word for the reason.
        message: the reason in words.
    """

    code: str
    message: str


class Served(Struct):
    """The version that answers, and the state of the service.

    Attributes:
        model: the name of the registered model.
        version: the version that answers.
        run_id: the MLflow run that trained it.
        alias: the alias that the service follows.
        digest: the digest of the model's files.
        since: when this version began to answer.
        items: how many items it knows.
        columns: the context columns that it reads, each with "session" or "event".
        exclude_seen: whether it was judged by lists without the session's own items.
        catalogue: whether there is a catalogue.
        problems: what does not work now, in words.
    """

    model: str
    version: str
    run_id: str
    alias: str
    digest: str
    since: datetime
    items: int
    columns: dict[str, str]
    exclude_seen: bool
    catalogue: bool
    problems: list[str]


class Found(Struct):
    """An item of the catalogue.

    Attributes:
        id: the item.
        title: its title.
    """

    id: str
    title: str


_QUESTION: Final = msgspec.json.Decoder(Question)
encode: Final = msgspec.json.Encoder().encode


class Asked(Struct, kw_only=True):
    """A request for recommendations as it is answered: without the shop's own id of the shopper.

    Attributes:
        items: the session's items as texts, oldest first; None for a missing id.
        context: values of context columns, with the shopper's pseudonym as `user`.
        excluded: the items in the cart, and further items that are not recommended.
        k: as in `Question`, and so are the other attributes.
        has_policy: whether the request names its policy.
        unit: the pseudonym of the shopper, or of the visit without a shopper; None without consent too.
        visit: the pseudonym of the visit; None without consent too.
        withheld: why the list is not personal; None for a list that may be.
        assigned: the arm of the trial that the request belongs to; None without one.
        failed: the arm whose version could not answer, so that the champion did; None if none failed.
    """

    items: list[str | None]
    context: dict[str, Any]
    excluded: frozenset[str]
    k: int
    exclude_seen: bool | None
    consent: bool
    placement: str
    policy: Policy
    filter: str | None
    explain: bool
    has_policy: bool = False
    unit: str | None = None
    visit: str | None = None
    withheld: Withheld | None = None
    assigned: Assigned | None = None
    failed: Assigned | None = None

    def withhold(self, reason: Withheld) -> None:
        """Answer as without consent: the model sees neither the session nor the shopper."""
        self.consent, self.unit, self.visit, self.withheld = False, None, None, reason
        self.context.pop(USER, None)


def read_question(
    body: bytes, pseudonym_of: Callable[[str, str | int], str], *, opts_out: bool = False
) -> Asked:
    """Read a request for recommendations.

    Args:
        body: the body.
        pseudonym_of: makes a pseudonym of USERS or SESSIONS, and of the shop's own id.
        opts_out: whether the head of the request refuses personal lists.

    Raises:
        RefusedError: 400, the body is not JSON; 422, a field is unknown or has a wrong value; 503, no
            pseudonym can be made.
    """
    given: Question = decoded(_QUESTION, body)
    if given.user_id is not None and given.pseudonym is not None:
        raise wrong("give user_id or pseudonym, not both")
    if given.session_id is not None and given.session_pseudonym is not None:
        raise wrong("give session_id or session_pseudonym, not both")
    context: dict[str, Any] = given.context or {}
    if USER in context:
        raise wrong("context.user is not read: give user_id or pseudonym")
    withheld: Withheld | None = "consent" if not given.consent else "gpc" if opts_out else None
    shopper = visit = None
    if withheld is None:
        shopper = given.pseudonym if given.user_id is None else pseudonym_of(USERS, given.user_id)
        visit = given.session_pseudonym
        if given.session_id is not None:
            visit = pseudonym_of(SESSIONS, given.session_id)
        if shopper is not None:
            context[USER] = shopper
    left_out = [*_texts("cart", given.cart), *_texts("exclude", given.exclude)]
    return Asked(
        items=_texts("items", given.items),
        context=context,
        excluded=frozenset(item for item in left_out if item),
        k=given.k,
        exclude_seen=given.exclude_seen,
        consent=withheld is None,
        placement=given.placement,
        policy="popular" if not given.personalize else "model" if given.policy is UNSET else given.policy,
        filter=given.filter,
        explain=given.explain,
        has_policy=given.policy is not UNSET or not given.personalize,
        unit=visit if shopper is None else shopper,
        visit=visit,
        withheld=withheld or (None if given.personalize else "switch"),
    )


def check_context(context: Mapping[str, Any], columns: Collection[str]) -> None:
    """Refuse context that no model reads.

    Args:
        context: the context of a request.
        columns: the columns that the present model reads.

    Raises:
        RefusedError: 422, with the closest name that exists.
    """
    for name in context:
        if name != USER and name not in CONTEXT and name not in columns:
            close = difflib.get_close_matches(name, {*CONTEXT, *columns} - {USER}, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(CONTEXT)}"
            raise wrong(f"context has no column {name[:100]!r}{hint}")


def wrong(message: str) -> RefusedError:
    """Return the refusal of a value."""
    return RefusedError(422, "wrong_value", message)


def _texts(name: str, ids: Sequence[ItemId | None] | None) -> list[str | None]:
    """Return ids as texts; a missing id stays None, and a missing list is empty.

    Raises:
        RefusedError: 422, an id is a number that is not whole.
    """
    return [each if each is None or isinstance(each, str) else _digits(name, each) for each in ids or ()]


def _digits(name: str, value: float) -> str:
    if isinstance(value, float) and not value.is_integer():
        raise wrong(f"{name} should be texts or whole numbers, received {value}")
    return str(int(value))


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """Return the value of a body.

    Raises:
        RefusedError: 400, the body is not JSON; 422, a field is unknown or has a wrong value.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise wrong(str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RefusedError(400, "not_json", f"the body is not JSON: {error}") from None

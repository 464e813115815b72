"""What each metric means: its formula, and where its values come from."""

from __future__ import annotations

from typing import Final, NamedTuple


class Help(NamedTuple):
    """The help on a metric.

    Attributes:
        name: as readers know it.
        formula: how it is computed.
        source: the table or the run that it comes from.
    """

    name: str
    formula: str
    source: str


FIGURES: Final = "the table shop_metrics, which attribute_outcomes fills"

HELP: Final[dict[str, Help]] = {
    "recall": Help(
        "recall@k",
        "targets that are among the first k items of their list / all targets. A target is the item that a "
        "shopper looked at next.",
        "the evaluation of the version before its release, in its run in MLflow",
    ),
    "precision": Help(
        "precision@k",
        "recall@k / k, since each list has one target",
        "the evaluation of the version before its release, in its run in MLflow",
    ),
    "ctr": Help(
        "Click-through rate (CTR)",
        "clicked items / shown items. An item counts once, however often it was clicked.",
        FIGURES,
    ),
    "conversion": Help(
        "Conversion",
        "sessions with an order / sessions that saw recommendations",
        FIGURES,
    ),
    "add_to_cart_rate": Help(
        "Added to the cart",
        "shown items that were added to the cart afterwards / shown items",
        FIGURES,
    ),
    "revenue": Help(
        "Revenue a session",
        "price times quantity of all orders after the first list / sessions that saw recommendations",
        FIGURES,
    ),
    "abandonment": Help(
        "Checkout abandonment",
        "sessions that left their checkout without an order / sessions that came to the checkout",
        FIGURES,
    ),
    "seconds": Help(
        "Time in a session",
        "time from the first list to the last event of the session, its mean over sessions",
        FIGURES,
    ),
    "depth": Help(
        "Items viewed in a session",
        "different items viewed after the first list, their mean over sessions",
        FIGURES,
    ),
    "dwell": Help(
        "Dwell on a viewed item",
        "time on the pages of shown items that were viewed / these items. There is no interval, since the "
        "table holds no squares of it.",
        FIGURES,
    ),
    "gate": Help(
        "The gate's decision",
        "Each rule compares one value with one threshold. A version becomes champion, shadow or canary "
        "only if no rule is broken. Open: the evidence does not suffice yet.",
        "the column decision of the table releases",
    ),
    "chain": Help(
        "The ledger's chain",
        "digest of a row = SHA-256(digest of the row before it, the row). A row that was changed, removed or "
        "added later breaks the chain at its place.",
        "the column chain of the table releases",
    ),
    "quarantine": Help(
        "Quarantine",
        "rows that broke at least one rule of the contract / rows of the batch. A row that breaks two rules "
        "counts at both. The rows are kept, and can be repaired and taken in again.",
        "the column quarantined_by_rule of the tables of batches, and the table quarantine",
    ),
    "gaps": Help(
        "Gaps",
        "end offset - start offset: the messages of a topic that Kafka deleted before Lastaisle read them",
        "the table gaps",
    ),
    "drift": Help(
        "Drift",
        "PSI = sum over the bins of (p - q) · ln(p / q), where p are the shares of the day and q those of "
        "the seven days before. A score above its limit is an alarm. The limit is learned from the scores "
        "of up to 56 days before.",
        "the table drift, which detect_drift fills",
    ),
    "sequence": Help(
        "Sequence of intervals",
        "Each hour gives an interval of the difference from the control. All intervals together hold the "
        "difference with the level of the experiment, however often a reader looks.",
        "the table experiment_results, which analyze_experiments fills",
    ),
    "ratio": Help(
        "Sample ratio",
        "p of a test that each arm gets the shoppers that its share expects, for any number of looks. Below "
        "0.001 the experiment is invalid.",
        "the column ratio_p of the table experiment_results",
    ),
    "regret": Help(
        "Estimated regret",
        "mean reward of the best arm · lists of the arm - rewards of the arm",
        "the table bandit_arms, which update_bandits fills",
    ),
    "apprentice": Help(
        "Apprentice",
        "The share of lists that follow the policy. It rises when the lists show that the policy would earn "
        "at least as much as the control, and falls to 0 when the policy is surely worse.",
        "the table traffic",
    ),
    "pseudonyms": Help(
        "Pseudonyms",
        "HMAC-SHA256 of an id with a secret key. Rows of two versions of the key cannot be joined. A "
        "fingerprint tells two keys apart, and says no more of them.",
        "the column key_version of the tables events and exposures",
    ),
    "consent": Help(
        "Consent",
        "events whose shopper agreed / events of the day. Training leaves out shoppers who do not agree to "
        "personalization.",
        "the columns consent_analytics and consent_personalization of the table events",
    ),
    "churn": Help(
        "Churn",
        "1 - items that both lists of 20 have / 20, as a mean over the sessions. The order within a list "
        "does not count.",
        "the packed models of both versions, asked with the newest sessions of the table events",
    ),
}

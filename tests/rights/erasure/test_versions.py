"""What trained models know of an erased shopper: online vectors go, and versions that learned are named."""

import json
import shutil
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.release.gate import GateRules
from lastaisle.release.online import update_online
from lastaisle.release.release import current_champion
from lastaisle.rights.erasure import Places, Subjects, erase
from lastaisle.training.online import ARTIFACT
from tests.shops import made_up_shop
from tests.shops.made_up_shop import end_of

pytestmark = pytest.mark.training

SMALL = {"embedding_size": 16, "epochs": 3, "warm_epochs": 1, "negatives": 64, "learning_rate": 0.01}
LAX = GateRules(margin=1.0)


@pytest.fixture
def keys(tmp_path) -> PseudonymKeys:
    return PseudonymKeys.load_or_create(tmp_path / "home" / "keys.json", environ={})


@pytest.fixture
def shop(empty_store, tmp_path, monkeypatch, keys):
    """A shop whose events hold pseudonyms, as anonymization makes them."""
    made_up_shop.pack_lightly(monkeypatch.setattr)
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, tmp_path / "home" / "mlflow")
    events = made_up_shop.events()
    names = {user: pseudonym(keys, user) for user in set(events["user_id"].to_pylist()) if user}
    users = pa.array([names.get(user) for user in events["user_id"].to_pylist()])
    events = events.set_column(events.schema.get_field_index("user_id"), "user_id", users)
    shop = made_up_shop.Installation(tmp_path / "home").with_events(events)
    shop.settings = shop.settings.replace(architecture="attention", hyperparameters=json.dumps(SMALL))
    return shop


def pseudonym(keys: PseudonymKeys, user: str) -> str:
    return min(Subjects.of([user], keys).pseudonyms("user_id", [user]))


def test_online_vectors_go_and_versions_that_learned_are_named(shop, keys, tmp_path):
    assert shop.day(1, LAX, architecture="attention").promote
    champion = current_champion(shop.lake, shop.registry)
    update = update_online(champion, shop.lake, shop.registry, end_of(1) + timedelta(hours=12))
    assert shop.registry.aliases()["online"] == update.version != champion.version
    delta = shop.registry.download(update.run_id, ARTIFACT)
    with np.load(delta) as stored:
        user = next(
            user
            for user in {f"u{number}" for number in range(1000)}
            if pseudonym(keys, user) in stored["shoppers"].tolist()
        )
        before = len(stored["shoppers"])
    subjects = Subjects.of([user], keys)
    places = Places(shop.lake, tmp_path / "work", registry=shop.registry, settings=shop.settings)

    erased = erase(subjects, places, dry_run=False)

    assert erased.proven, erased.to_dict()
    decisions = {version.run_id: version for version in erased.versions}
    assert decisions[update.run_id].knows == "vector"
    assert decisions[update.run_id].decided == "deleted"
    own = decisions[champion.run_id]
    assert (own.version, own.knows, own.decided) == (champion.version, "weights", "retrain_or_retire")
    assert shop.registry.aliases()["online"] == champion.version

    again = update_online(champion, shop.lake, shop.registry, end_of(1) + timedelta(hours=12))
    assert again.version != champion.version, "the next update learns the sessions of the others again"
    with np.load(shop.registry.download(again.run_id, ARTIFACT)) as stored:
        assert pseudonym(keys, user) not in stored["shoppers"].tolist()
        assert len(stored["shoppers"]) == before - 1
    assert erase(subjects, places, dry_run=False).proven

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


def shoppers_of(shop, run_id: str) -> list[str]:
    with np.load(shop.registry.download(run_id, ARTIFACT)) as stored:
        return stored["shoppers"].tolist()


def test_online_vectors_go_and_versions_that_learned_are_named(shop, keys, tmp_path):
    assert shop.day(1, LAX, architecture="attention").promote
    champion = current_champion(shop.lake, shop.registry)
    noon = end_of(1) + timedelta(hours=12)
    update = update_online(champion, shop.lake, shop.registry, noon)
    assert shop.registry.aliases()["online"] == update.version != champion.version
    before = shoppers_of(shop, update.run_id)
    names = {pseudonym(keys, f"u{number}"): f"u{number}" for number in range(400)}
    # Updates learned from 16:00 to noon of the next day. The champion knows the first day until 16:00, so the
    # shopper of noon, and not the shopper of 16:00, who was last seen then.
    first, second = before[-1], before[0]
    places = Places(shop.lake, tmp_path / "work", registry=shop.registry, settings=shop.settings)

    erased = erase(Subjects.of([names[first]], keys), places, dry_run=False)
    assert erased.proven, erased.to_dict()
    decisions = {version.run_id: version for version in erased.versions}
    assert (decisions[update.run_id].knows, decisions[update.run_id].decided) == ("vector", "lost_vector")
    own = decisions[champion.run_id]
    assert (own.version, own.knows, own.decided) == (champion.version, "weights", "retrain_or_retire")
    assert own.through == champion.run_key
    assert shoppers_of(shop, update.run_id) == [name for name in before if name != first]
    assert update_online(champion, shop.lake, shop.registry, noon).version == update.version

    # A packed model that holds the name of a shopper cannot lose it, so it goes.
    model_id = shop.registry.client.get_run(update.run_id).outputs.model_outputs[-1].model_id
    packed = tmp_path / "home" / "mlflow" / "artifacts" / "models" / model_id / "artifacts"
    (packed / "shoppers.json").write_text(json.dumps([second]))
    subjects = Subjects.of([names[second]], keys)
    erased = erase(subjects, places, dry_run=False)
    assert erased.proven, erased.to_dict()
    assert {each.run_id: each.decided for each in erased.versions} == {update.run_id: "deleted"}
    assert shop.registry.aliases()["online"] == champion.version
    again = update_online(champion, shop.lake, shop.registry, noon)
    assert again.version not in (update.version, champion.version), "the sessions of others are learned again"
    assert not {first, second} & set(shoppers_of(shop, again.run_id))
    assert erase(subjects, places, dry_run=False).proven

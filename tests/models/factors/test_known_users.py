import numpy as np
import pytest

from models.by_name import create
from models.checkout_model import CheckoutModel
from models.data.sequences import Context, SessionLog
from models.factors.known_users import KnownUsers
from models.options import TrainingOptions
from models.serving.export import export_artifact

pytestmark = pytest.mark.training


def returning(n_users=12):
    """Return sessions of users, of which the later ones are more and more active."""
    generator = np.random.default_rng(5)
    users = [user for user in range(n_users) for _ in range(1 + user)]
    sessions = [[f"i{(3 * user + step) % 30}" for step in generator.integers(0, 4, 5)] for user in users]
    names = np.array([f"u{user}" for user in users], object)
    return SessionLog.from_lists(sessions, context={"user": names})


def packed(model, folder):
    return CheckoutModel(export_artifact(model, folder)["light"])


def test_the_users_whose_vectors_differ_most_are_kept_in_their_order():
    vectors = np.array([[1.0, 0.0], [5.0, 0.0], [1.0, 0.1], [0.0, -4.0]], np.float32)
    users = KnownUsers(["a", "b", "c", "d"], vectors, np.array([1.0, 0.0], np.float32), 2)
    assert users.features.names == {"user": ("b", "d")}
    prefixes = np.zeros((3, 1), np.int32)
    found = users.vectors_of(np.array([2, 0, 1], np.int32), prefixes).numpy()
    np.testing.assert_array_equal(found, [[0.0, -4.0], [1.0, 0.0], [5.0, 0.0]])
    np.testing.assert_array_equal(users.vectors_of(None, prefixes).numpy(), [[1.0, 0.0]] * 3)
    assert KnownUsers(["a"], vectors[:1], vectors[0], 0).features.names == {}


@pytest.mark.parametrize("name", ["factorization", "ncf"])
def test_a_packed_model_knows_at_most_as_many_users_as_the_options_say(name, tmp_path):
    options = TrainingOptions(embedding_size=8, epochs=2, max_length=6, users=4)
    model = create(name, options)
    model.fit(returning())
    light = packed(model, tmp_path)
    assert light.columns == {"user": "session"}
    plain = light.score([(["i3"], None)])[0]
    differs = [np.any(light.score([(["i3"], {"user": f"u{user}"})])[0] != plain) for user in range(12)]
    assert sum(differs) == 4
    model = create(name, options.but(users=0))
    model.fit(returning())
    assert packed(model, tmp_path / "nobody").columns == {}


def test_a_known_user_without_an_item_gets_items_of_the_factors(tmp_path):
    model = create("factorization", TrainingOptions(embedding_size=8, epochs=4, max_length=6))
    model.fit(returning())
    light = packed(model, tmp_path)
    context = Context({"user": np.array(["u9", "nobody", None, ""], object)})
    assert model.known_by_context(context, 4).tolist() == [True, False, False, False]
    assert model.known_by_context(Context(), 2).tolist() == [False, False]
    scores, is_scored = light.score([([], {"user": user}) for user in ("u9", "nobody", None, "")])
    assert is_scored.tolist() == [True, False, False, False]
    expected = model.scores(np.zeros((1, 1), np.int32), context.rows(slice(0, 1)))
    np.testing.assert_allclose(scores[0], expected[0], atol=1e-4)

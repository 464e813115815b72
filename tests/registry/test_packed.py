"""The packed model of a run, fetched and checked as a service gets it."""

import pytest

from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings
from models.by_name import create
from models.stored import DamagedModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training


def test_a_changed_file_of_a_packed_model_is_named(tmp_path):
    registry = Registry(Settings.of(home=tmp_path / "home"))
    model = create("cooccurrence")
    model.fit(rings(60, 0))
    with registry.run("a training", {}) as run_id:
        registry.log_packed(model, tmp_path / "files")
    assert len(registry.load_served(run_id).vocabulary) == len(model.vocabulary)
    (file,) = (tmp_path / "home").rglob("artifacts/light/vocabulary.json")
    file.write_text(file.read_text().replace("i1", "i01"))
    with pytest.raises(DamagedModelError, match=r"expected the digest .*light/vocabulary\.json has changed"):
        registry.load_served(run_id)

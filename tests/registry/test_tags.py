"""A tag that two processes set at the same moment is set, and no error."""

import pytest
from mlflow.exceptions import MlflowException

from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings


class Racing:
    """MLflow's client, which finds at the first try that another process has inserted the tag.

    Args:
        inserted: whether the other process did.
    """

    def __init__(self, inserted):
        self.set, self.inserted, self.is_first = {}, inserted, True

    def set_tag(self, _, name, value):
        if self.is_first:
            self.is_first = False
            self.set |= {name: "of the other process"} if self.inserted else {}
            raise MlflowException("UNIQUE constraint failed: tags.key, tags.run_uuid")
        self.set[name] = value


@pytest.mark.parametrize("inserted", [True, False])
def test_a_tag_that_another_process_sets_at_once_is_set(tmp_path, monkeypatch, inserted):
    registry = Registry(Settings.of(home=tmp_path))
    racing = Racing(inserted)
    monkeypatch.setattr(registry, "client", racing)
    monkeypatch.setattr(registry, "tags", lambda _: racing.set)
    if inserted:
        registry.set_tag("run", "decision", "promote")
        assert racing.set == {"decision": "promote"}
    else:
        with pytest.raises(MlflowException):
            registry.set_tag("run", "decision", "promote")

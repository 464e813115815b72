"""A tag or an alias that two processes set at the same moment is set, and no error."""

import threading

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


def test_processes_may_set_the_same_new_tags_and_aliases_at_once(tmp_path):
    registries = [Registry(Settings.of(home=tmp_path)) for _ in range(3)]
    registries[0].client.create_registered_model(registries[0].model_name)
    registries[0].client.create_model_version(registries[0].model_name, str(tmp_path))
    start, failures = threading.Barrier(3), []

    def move(registry):
        try:
            for number in range(10):
                start.wait()
                registry.set_version_tags("1", {f"tag{number}": "value"})
                registry.set_aliases({f"alias{number}": "1"})
            registry.mark_aliases("move")
        except MlflowException as error:
            failures.append(error)
            start.abort()

    threads = [threading.Thread(target=move, args=(registry,)) for registry in registries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    aliases, mark = registries[0].aliases_with_mark()
    assert (len(aliases), mark) == (10, "move")

"""Every address of MLflow opens the view for model training, and holds names that are not safe in a URL."""

import inspect

import pytest

from lastaisle.registry import links

BASE = "http://127.0.0.1:5000"
EXAMPLES = {
    links.first_page: ([], "experiments"),
    links.run_list_page: (["7"], "experiments/7/runs"),
    links.run_page: (["abc"], "experiments/0/runs/abc"),
    links.artifact_page: (["7", "abc", "card/model card.html"], None),
    links.model_page: (["checkout"], "models/checkout"),
    links.version_page: (["ours/and more", "3"], "models/ours%2Fand%20more/versions/3"),
}


@pytest.mark.parametrize(("page", "arguments", "path"), [(page, *given) for page, given in EXAMPLES.items()])
def test_an_address_opens_the_view_for_model_training(page, arguments, path):
    path = path or "experiments/7/runs/abc/artifacts/card/model%20card.html"
    address = page(BASE, *arguments)
    assert address.startswith(f"{BASE}/#/{path}?workflowType=machine_learning")
    assert page("", *arguments) == address.removeprefix(f"{BASE}/"), "relative to MLflow's own pages"


def test_a_run_is_shown_in_its_experiment_where_the_experiment_is_known():
    assert links.run_page(BASE, "abc", "7").startswith(f"{BASE}/#/experiments/7/runs/abc?")


def test_every_function_has_an_example():
    own = [each for each in vars(links).values() if inspect.getmodule(each) is links]
    assert {each for each in own if each.__name__[0] != "_"} == set(EXAMPLES)

"""Who may call MLflow's server: MLflow's accounts, of which `reader` may only read.

MLflow's permissions decide about experiments and models that exist. They let every account create new ones,
so the account of services could register code under a free name. This module refuses that.

Only MLflow's server imports this module, by the name in the file that `accounts` writes.
"""

from __future__ import annotations

from typing import Any

from flask import request
from mlflow.server.auth import authenticate_request_basic_auth, make_forbidden_response

from lastaisle_airflow.local.mlflow.accounts import READER

_READING_METHODS = ("GET", "HEAD", "OPTIONS")
#: MLflow's searches are calls by POST, because their filters are long. They change nothing.
_READING_CALLS = ("/search", "/graphql")


def only_reads(method: str, path: str) -> bool:
    """Tell whether a call changes nothing.

    Args:
        method: the method of HTTP.
        path: the path of the call.
    """
    return method in _READING_METHODS or (method == "POST" and path.endswith(_READING_CALLS))


def authenticate() -> Any:
    """Return the account of the current request, or the response that refuses the request."""
    account = authenticate_request_basic_auth()
    if getattr(account, "username", None) == READER and not only_reads(request.method, request.path):
        return make_forbidden_response()
    return account

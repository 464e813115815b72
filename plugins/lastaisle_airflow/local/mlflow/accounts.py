"""Serve MLflow with accounts: `python -m lastaisle_airflow.local.mlflow.accounts --host 0.0.0.0 ...`.

MLflow's own basic authentication asks each caller for a name and a password. The command makes three accounts
and gives them the passwords of the environment, at each start anew:

- `admin` may do everything;
- `pipeline` may write all experiments and models, and moves the aliases;
- `reader` may only read, which `authorization` makes sure of. Services pull models with it.

The arguments are those of `mlflow server`. MLFLOW_BACKEND_STORE_URI names the database, which holds the
accounts too, and MLFLOW_FLASK_SERVER_SECRET_KEY signs the forms of MLflow's pages.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from lastaisle.errors import LastaisleError
from lastaisle.settings.errors import SettingsError
from lastaisle.settings.private import create_private_files

ADMIN: Final = "admin"
PIPELINE: Final = "pipeline"
READER: Final = "reader"
PASSWORDS: Final = {
    ADMIN: "LASTAISLE_MLFLOW_ADMIN_PASSWORD",
    PIPELINE: "LASTAISLE_MLFLOW_PIPELINE_PASSWORD",
    READER: "LASTAISLE_MLFLOW_READER_PASSWORD",
}
"""The variable that holds the password of each account."""
DATABASE: Final = "MLFLOW_BACKEND_STORE_URI"
FORM_KEY: Final = "MLFLOW_FLASK_SERVER_SECRET_KEY"
APP: Final = "lastaisle-accounts"  # in pyproject.toml
CONFIG_PATH: Final = "MLFLOW_AUTH_CONFIG_PATH"
# Seconds for which a checked password counts. Each check costs 0.1 s, and a pull of a model is 20 calls.
TRUSTED: Final = 10
MIN_PASSWORD: Final = 12  # characters; MLflow takes no shorter passwords
_MAKE_ONE: Final = "python3 -c 'import secrets; print(secrets.token_hex(32))' makes one"
_CONFIG: Final = """\
[mlflow]
default_permission = READ
database_uri = {database}
admin_username = {admin}
auth_cache_ttl_seconds = {trusted}
authorization_function = lastaisle_airflow.local.mlflow.authorization:authenticate
"""


def read_passwords(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the password of each account.

    Raises:
        SettingsError: a variable that MLflow's accounts need is missing, a password is too short, or two
            accounts have the same password. The message never holds a password.
    """
    for name in (DATABASE, FORM_KEY, *PASSWORDS.values()):
        if not environ.get(name, "").strip():
            raise SettingsError(f"{name} is not set, and MLflow asks for accounts: set it; {_MAKE_ONE}")
    passwords = {account: environ[name].strip() for account, name in PASSWORDS.items()}
    for account, password in passwords.items():
        if len(password) < MIN_PASSWORD:
            raise SettingsError(
                f"{PASSWORDS[account]} should have {MIN_PASSWORD} characters or more, received "
                f"{len(password)} (they are not shown); {_MAKE_ONE}"
            )
    if len(set(passwords.values())) < len(passwords):
        raise SettingsError(
            f"two of {', '.join(PASSWORDS.values())} are equal, so one account could act as another: give "
            f"each account a password of its own; {_MAKE_ONE}"
        )
    return passwords


def write_config(database: str, folder: Path) -> Path:
    """Write the file that tells MLflow where the accounts are and who checks a request; return its path."""
    path = folder / "mlflow-accounts.ini"
    database = database.replace("%", "%%")  # the file's format reads % as the start of a reference
    path.write_text(_CONFIG.format(database=database, admin=ADMIN, trusted=TRUSTED), encoding="utf-8")
    path.chmod(0o600)
    return path


def set_accounts(database: str, passwords: Mapping[str, str]) -> None:
    """Create the accounts that are missing, and give all of them their passwords and permissions.

    Args:
        database: the database of the accounts; its tables are made if they are missing.
        passwords: the password of each account.
    """
    # MLflow reads MLFLOW_AUTH_CONFIG_PATH while this module loads.
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(database)
    for account, password in passwords.items():
        is_admin = account == ADMIN
        if store.has_user(account):
            store.update_user(account, password=password, is_admin=is_admin)
        else:
            store.create_user(account, password, is_admin=is_admin)
    for kind in ("experiment", "registered_model"):
        store.grant_user_permission(PIPELINE, kind, "*", "MANAGE")


def serve(environ: Mapping[str, str], arguments: Sequence[str]) -> NoReturn:
    """Set the accounts, and become MLflow's server, which no longer holds the passwords.

    Raises:
        SettingsError: as `read_passwords` does.
    """
    passwords = read_passwords(environ)
    config = write_config(environ[DATABASE], Path(tempfile.mkdtemp(prefix="mlflow-accounts-")))
    os.environ[CONFIG_PATH] = str(config)
    set_accounts(environ[DATABASE], passwords)
    kept = {name: value for name, value in environ.items() if name not in PASSWORDS.values()}
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", APP, *arguments]
    os.execve(sys.executable, command, {**kept, CONFIG_PATH: str(config)})


def main() -> int:
    """Serve MLflow with the accounts of the environment."""
    create_private_files()
    try:
        serve(dict(os.environ), sys.argv[1:])
    except LastaisleError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

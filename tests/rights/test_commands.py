"""`lastaisle subjects`: ids come from files alone, and no output names a shopper."""

import json
import shutil
import sys

import pytest

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.privacy.accesses import account

from .conftest import ANNA, BERTA


@pytest.fixture
def ask(shop, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(shop.folder))
    monkeypatch.setenv("LASTAISLE_KEY_FILE", str(shop.folder / "keys.json"))
    monkeypatch.setenv("LASTAISLE_RAW_READERS", account())
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "ids.txt").write_text(f"{ANNA}\n")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["lastaisle", "subjects", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ANNA not in printed.out + printed.err
        return ended.value.code, printed.out, printed.err

    run.ids = str(tmp_path / "ids.txt")
    return run


def test_an_erasure_is_first_counted_then_done_and_its_receipt_can_be_verified(ask, shop, tmp_path):
    code, out, _ = ask("erase", "--user-id-file", ask.ids)
    assert (code, "dry run: nothing was changed. After --no-dry-run: 7 rows erased" in out) == (0, True)
    code, out, _ = ask("erase", "--user-id-file", ask.ids, "--no-dry-run")
    assert code == 0
    assert "7 rows erased; a search of" in out
    assert "found 0 ids and pseudonyms" in out
    assert shop.users() == {BERTA}
    (receipt,) = (shop.folder / "subjects" / "receipts").iterdir()
    code, out, _ = ask("verify", str(receipt), "--user-id-file", ask.ids)
    assert (code, "the receipt is about these user ids" in out) == (0, True)
    (tmp_path / "other.txt").write_text(BERTA)
    code, _, err = ask("verify", str(receipt), "--user-id-file", str(tmp_path / "other.txt"))
    assert (code, "not about every one of these" in err) == (ExitCode.WRONG_REQUEST, True)
    changed = json.loads(receipt.read_text())
    changed["receipt"]["done"]["rows"] = 8
    receipt.write_text(json.dumps(changed))
    assert ask("verify", str(receipt))[0] == ExitCode.WRONG_REQUEST


def test_the_public_key_verifies_on_another_machine(ask, tmp_path, monkeypatch):
    ask("object", "--user-id-file", ask.ids)
    (receipt,) = (tmp_path / "home" / "subjects" / "receipts").iterdir()
    _, public, _ = ask("verify", "--public-key")
    (tmp_path / "public.pem").write_text(public)
    monkeypatch.setenv("LASTAISLE_RECEIPT_KEY", str(tmp_path / "elsewhere" / "receipts.pem"))
    code, out, _ = ask("verify", str(receipt), "--key", str(tmp_path / "public.pem"))
    assert (code, "object of 1 shoppers" in out) == (0, True)


def test_a_request_for_later_waits_and_can_be_resumed(ask, shop):
    code, out, _ = ask("erase", "--later", "--user-id-file", ask.ids)
    name = out.split()[1]
    assert (code, ANNA in shop.users()) == (0, True)
    code, out, _ = ask("list")
    assert name in out
    assert "asked" in out
    assert ask("resume", name)[0] == 0
    assert shop.users() == {BERTA}
    assert "no request of a shopper waits" in ask("list")[1]
    assert "done" in ask("list", "--all")[1]
    code, out, _ = ask("show", name)
    assert [line.split()[2] for line in out.splitlines() if " by " in line and line[0] == "2"] == [
        *("asked", "working", "done")
    ]


def test_a_refused_request_loses_its_ids(ask, shop):
    assert ask("restrict", "--user-id-file", ask.ids, "--json")[0] == ExitCode.WRONG_REQUEST, "no JSON"
    assert shop.desk.inbox.names() == []
    _, out, _ = ask("erase", "--later", "--user-id-file", ask.ids)
    name = out.split()[1]
    assert ask("refuse", name, "--reason", " ")[0] == ExitCode.WRONG_REQUEST
    assert ask("refuse", name, "--reason", "nobody proved the identity")[0] == 0
    assert shop.desk.inbox.names() == []
    assert ask("resume", name)[0] == 0, "an ended request is told, and nothing is done"
    assert ANNA in shop.users()


def test_ids_come_from_standard_input_and_never_as_arguments(ask, monkeypatch, shop, tmp_path):
    class Input:
        buffer = (tmp_path / "ids.txt").open("rb")

    monkeypatch.setattr(sys, "stdin", Input)
    out = tmp_path / "copy.json"
    code, _, _ = ask("export", "--user-id-file", "-", "--out", str(out), "--reason", "article 15")
    assert code == 0
    assert ANNA in out.read_text()
    code, _, err = ask("export", "anna")
    assert (code, "user-id-file" in err) == (ExitCode.WRONG_REQUEST, True)
    code, _, err = ask("export", "--user-id-file", ask.ids, "--out", str(out), "--reason", "again")
    assert (code, "File exists" in err) == (ExitCode.FAILED, True)


def test_after_a_restore_the_command_tells_how_many_came_back(ask, shop):
    shutil.copytree(shop.folder / "lake", shop.folder.parent / "backup")
    assert ask("erase", "--user-id-file", ask.ids, "--no-dry-run")[0] == 0
    shutil.rmtree(shop.folder / "lake")
    shutil.copytree(shop.folder.parent / "backup", shop.folder / "lake")
    code, out, _ = ask("reapply")
    assert (code, "1 erased shoppers have rows from before their erasure" in out) == (0, True)
    assert ANNA in shop.users()
    assert ask("reapply", "--no-dry-run")[0] == 0
    assert shop.users() == {BERTA}

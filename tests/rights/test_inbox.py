"""The inbox keeps user ids in private files, and no message of it names one."""

import json
import stat

import pytest

from lastaisle.rights.inbox import Inbox, InboxError, RequestBusyError, RequestError, read_ids

SECRET = "anna@example.org"


def test_ids_lie_in_files_that_only_their_owner_can_read(tmp_path):
    inbox = Inbox(tmp_path / "subjects")
    name = inbox.put("erase", [SECRET, "ben", SECRET], "clerk")
    (file,) = inbox.waiting_folder.iterdir()
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(inbox.folder.stat().st_mode)) == (0o600, 0o700)
    assert SECRET not in file.name
    assert (inbox.names(), inbox.read(name)) == ([name], [SECRET, "ben"])
    assert SECRET not in repr(inbox.waiting(name))
    inbox.finish(name)
    inbox.finish(name)
    assert list(inbox.waiting_folder.iterdir()) == []
    with pytest.raises(RequestError, match="has no ids of request"):
        inbox.read(name)


def test_the_folder_may_not_lie_inside_the_lake(tmp_path):
    with pytest.raises(InboxError, match="lies inside the lake"):
        Inbox(tmp_path / "lake" / "subjects", lake_url=str(tmp_path / "lake"))
    Inbox(tmp_path / "lake-of-others", lake_url=str(tmp_path / "lake"))
    Inbox(tmp_path / "subjects", lake_url="s3://shop/lake")


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "0" * 15, "0" * 17, "G" * 16, "0" * 16 + "\n"])
def test_only_ids_of_requests_name_files(tmp_path, name):
    with pytest.raises(RequestError, match="16 hexadecimal digits"):
        Inbox(tmp_path).read(name)


def test_a_damaged_file_is_told_without_its_content(tmp_path):
    inbox = Inbox(tmp_path)
    name = inbox.put("erase", [SECRET], "clerk")
    (tmp_path / "waiting" / f"{name}.request.json").write_text(f'{{"user_ids": ["{SECRET}"')
    with pytest.raises(InboxError) as refused:
        inbox.read(name)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_one_process_at_a_time_works_on_a_request(tmp_path):
    inbox = Inbox(tmp_path)
    name = inbox.put("erase", ["ben"], "clerk")
    with inbox.hold(name), pytest.raises(RequestBusyError, match=name), Inbox(tmp_path).hold(name):
        pass
    with inbox.hold(name):
        pass


@pytest.mark.parametrize(
    ("kind", "ids", "said"),
    [("forget", ["a"], "'forget'"), ("erase", [], "received 0"), ("erase", range(100_001), "100,001")],
)
def test_what_is_no_request_is_refused(tmp_path, kind, ids, said):
    with pytest.raises(RequestError, match=said):
        Inbox(tmp_path).put(kind, [str(each) for each in ids], "clerk")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("anna\nben\n", ["anna", "ben"]),
        ("\ufeffanna\r\n\r\n  \nben", ["anna", "ben"]),
        ("anna\nanna\n", ["anna"]),
        ("007\n7\n", ["007", "7"]),  # leading zeros are another id
        ("17.0\n+17.00\n17", ["17"]),  # as raw_events spells a number
        (" anna \n", ["anna"]),
        ("an\u2028na\nJos\u00e9\n\U0001f6d2", ["an\u2028na", "Jos\u00e9", "\U0001f6d2"]),
        ('a,b\n"quoted"\n-\n--help\n\'; --\n%41', ["a,b", '"quoted"', "-", "--help", "'; --", "%41"]),
    ],
)
def test_ids_are_read_as_raw_events_spells_them(text, ids):
    assert read_ids(text.encode()) == ids


def test_ids_with_line_breaks_come_as_json():
    assert read_ids(b'["a\\nb", 17, 17.0, "\\u00e9"]', as_json=True) == ["a\nb", "17", "\u00e9"]
    for wrong in (b"{}", b'"a"', b"[[]]", b"[true]", b"[", b"[" * 100_000):
        with pytest.raises(RequestError, match="JSON list"):
            read_ids(wrong, as_json=True)


@pytest.mark.parametrize("line", ["null", "undefined", "true", "1.2e+20", '{"id": 1}', "[1]"])
def test_a_line_that_is_no_id_is_named_by_its_number_alone(line):
    with pytest.raises(RequestError, match=r"^line 2 is no user id") as refused:
        read_ids(f"{SECRET}\n{line}\n".encode())
    assert SECRET not in str(refused.value)
    assert line not in str(refused.value).removesuffix("JSON, which raw_events never has as an id")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe", json.dumps([]).encode()])
def test_content_without_ids_is_refused(content):
    with pytest.raises(RequestError):
        read_ids(content, as_json=content == b"[]")

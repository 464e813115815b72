"""E-mail reaches a real mail server: encrypted, with a login, in threads; no text becomes a header."""

import time

import pytest

from lastaisle.delivery import mail as mailing
from lastaisle.delivery.mail import is_mail_address, mail, message_of, server_of
from tests.delivery.mailbox import ANSWERED, PASSWORD, USER
from tests.delivery.notices import RAISED, RESOLVED, notice
from tests.services.certificates import make_certificates

SENDER, ANNA, BEN = "lastaisle@shop.example", "anna@shop.example", "ben@shop.example"
LOGIN = "alerts%40shop.example:p%40ss%3Aword%2F1@"


def sends(server, address="", recipients=(ANNA, BEN)):
    return mail(server_of(address or server.address()), SENDER, recipients)


def test_a_message_has_a_text_and_a_page_for_all_recipients(mailbox):
    server = mailbox()
    assert sends(server)(RAISED).problem == ""
    (got,) = server.got
    assert server.envelopes[0].rcpt_tos == [ANNA, BEN]
    assert (got["From"], got["To"]) == (SENDER, f"{ANNA}, {BEN}")
    assert got["Subject"] == "[critical] No logs came for 2026-11-24"
    assert got["Auto-Submitted"] == "auto-generated"
    text, page = (got.get_body([kind]).get_content() for kind in ("plain", "html"))
    assert "The folder is empty.\nThe limit is 26 hours." in text.replace("\r\n", "\n")
    assert "Runbook: docs/alerts.md#missing_data" in text
    assert 'href="https://airflow.shop.example/log?run=1&amp;try=2"' in page
    assert 'href="docs' not in page, "a page of the documentation is no address"


def test_a_repeat_has_the_same_id_and_all_messages_of_an_alert_are_one_thread(mailbox):
    server = mailbox()
    for one in (RAISED, RAISED, RESOLVED, notice(id="msg_other", dedup_key="other")):
        assert not sends(server)(one).problem
    first, repeat, resolved, other = server.got
    assert first["Message-ID"] == repeat["Message-ID"] != resolved["Message-ID"]
    assert first["References"] == resolved["References"] == resolved["In-Reply-To"] != other["References"]
    assert resolved["Subject"].startswith("[resolved]")


@pytest.mark.parametrize(
    "end", ["\r\nBcc: eve@evil.example", "\nBcc: eve@evil.example", "\r\n\r\n<b>hi</b>", "\x00"]
)
def test_no_text_of_an_alert_becomes_a_header_or_a_command(mailbox, end):
    server = mailbox()
    hostile = notice(
        title=f"No logs{end}",
        text=f"one{end}\r\n.\r\nMAIL FROM:<eve@evil.example>\r\n<script>x</script>",
        id=f"msg{end}",
        dedup_key=f"key{end}",
        links=((f"name{end}", f"https://x.example/{end}"),),
    )
    assert not sends(server)(hostile).problem
    (got,) = server.got
    assert got["Bcc"] is None and server.envelopes[0].rcpt_tos == [ANNA, BEN]
    assert "No logs" in got["Subject"]
    assert "<script>" not in got.get_body(["html"]).get_content()
    assert len(server.envelopes) == 1, "a line with a dot alone does not end the message"


def test_letters_outside_ascii_arrive(mailbox):
    server = mailbox()
    assert not sends(server)(notice(title="Größe 20 % tiefer — 売上", text="Übersicht")).problem
    assert server.got[0]["Subject"] == "[critical] Größe 20 % tiefer — 売上"
    assert "Übersicht" in server.got[0].get_body(["plain"]).get_content()


def test_a_very_long_alert_is_shortened():
    message = message_of(notice(title="x" * 5000, text="y" * 10**6), SENDER, [ANNA])
    assert len(message["Subject"]) < 220 and len(bytes(message)) < 60_000
    assert max(map(len, bytes(message).split(b"\r\n"))) <= 998, "the longest line that SMTP allows"


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # the server's library does not see TLS around it
@pytest.mark.parametrize(("scheme", "is_encrypted"), [("smtp", False), ("smtps", True)])
def test_a_login_goes_only_over_an_encrypted_connection_to_a_verified_server(
    mailbox, monkeypatch, tmp_path, scheme, is_encrypted
):
    certificates = make_certificates(tmp_path)
    server = mailbox(keystore=certificates.keystore, is_encrypted=is_encrypted, needs_login=True)
    send = sends(server, server.address(scheme, LOGIN))
    assert "certificate verify failed" in send(RAISED).problem
    assert server.logins == [] and server.got == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    assert send(RAISED).problem == ""
    assert server.logins[-1] == USER and len(server.got) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_a_wrong_password_is_named_and_not_shown(mailbox):
    server = mailbox(needs_login=True)
    sent = sends(server, server.address(login=LOGIN.replace("1@", "2@")))(RAISED)
    assert sent.problem == "it refused the login (535)" and sent.answered
    assert PASSWORD[:4] not in sent.problem


def test_smtp_without_starttls_sends_nothing(mailbox):
    server = mailbox()
    sent = sends(server, server.address("smtp"))(RAISED)
    assert sent.problem.startswith("it offers no STARTTLS") and server.got == []


def test_one_refused_recipient_holds_back_no_other_and_is_named_by_its_place(mailbox):
    server = mailbox(refuses=(BEN,))
    sent = sends(server)(RAISED)
    assert (sent.problem, sent.remark) == ("", "it refused recipient 2 of 2")
    assert server.envelopes[0].rcpt_tos == [ANNA]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"refuses": (ANNA, BEN)}, "it refused every recipient"),
        ({"data_answer": f"451 {ANSWERED}"}, "it answered 451"),
        ({"data_answer": f"554 {ANSWERED}"}, "it answered 554"),
    ],
)
def test_a_refusal_is_told_without_the_words_of_the_server(mailbox, options, problem):
    sent = sends(mailbox(**options))(RAISED)
    assert sent.problem == problem and sent.answered


def test_a_server_that_says_nothing_is_left_in_time(mailbox, monkeypatch):
    monkeypatch.setattr(mailing, "TIMEOUT_SECONDS", 0.3)
    began = time.monotonic()
    sent = sends(mailbox(is_silent=True))(RAISED)
    assert sent.problem == "it gave no answer within 0.3 seconds" and not sent.answered
    assert time.monotonic() - began < 3


def test_a_server_that_is_down_is_named(mailbox):
    server = mailbox()
    server.stop()
    sent = sends(server)(RAISED)
    assert sent.problem.startswith("it cannot be reached (") and not sent.answered


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("smtp://mail.shop.example", ("smtp", "mail.shop.example", 587, "", "", "")),
        ("smtps://mail.shop.example", ("smtps", "mail.shop.example", 465, "", "", "")),
        ("smtp+plain://relay", ("smtp+plain", "relay", 25, "", "", "")),
        (
            f"smtp://{LOGIN}[::1]:2525?from=a@shop.example",
            ("smtp", "::1", 2525, USER, PASSWORD, "a@shop.example"),
        ),
    ],
)
def test_the_address_of_a_server_says_how_to_reach_it(address, expected):
    server = server_of(address)
    assert (server.scheme, server.host, server.port, server.user, server.password, server.sender) == expected
    assert PASSWORD not in repr(server)


@pytest.mark.parametrize(
    "address",
    [
        *("mail.shop.example:25", "https://mail.shop.example", "smtp://", "smtp://mail:99999", "smtp://a:b@"),
        *(
            "smtp://user@mail",
            "smtp://:the-token@mail",
            "smtp+plain://user:the-token@mail",
            "smtp://user:the-token",
        ),
        *(
            "smtp://mail/the-token",
            "smtp://mail#x",
            "smtp://ma il",
            "smtp://mail\r\nx",
            "smtp://mail?from=nobody",
        ),
        "smtp://user:the-to/ken@mail",
    ],
)
def test_a_wrong_address_of_a_server_is_refused_and_not_shown(address):
    with pytest.raises(ValueError) as error:
        server_of(address)
    assert "the-to" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("anna@shop.example", True),
        ("anna+alerts@shop.example", True),
        *(
            (text, False)
            for text in ("anna", "anna@", "@shop", "a@b@c", "anna@shop.example,eve@evil.example")
        ),
        *(
            (text, False)
            for text in ("Anna <anna@shop.example>", "anna@shop.example\n", "änna@shop.example", "")
        ),
    ],
)
def test_what_is_a_mail_address(address, is_one):
    assert is_mail_address(address) is is_one

"""Which addresses and secrets of webhooks are taken, and that no refusal shows them."""

import pytest

from lastaisle.settings import Settings, SettingsError

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.shop.example/lastaisle?token=t%2C1",
        "https://10.0.0.7:8443",
        "https://[2001:db8::1]/x",
        "HTTPS://Hooks.Shop.Example",
        "http://127.0.0.1:9000/x",
        "http://localhost/x",
        "http://[::1]:9000",
    ],
)
def test_an_address_is_taken(address):
    settings = Settings.of(webhooks=address, webhook_secret=SECRET)
    assert settings.announcements.addresses == (address,)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://the-token.example/", "is http to another machine"),
        ("http://127.0.0.1.the-token.example", "is http to another machine"),
        ("http://127.0.0.2/the-token", "is http to another machine"),
        ("http://localhost@the-token.example", "has a user name"),
        ("https://anna:the-token@shop.example", "has a user name"),
        ("ftp://shop.example/the-token", "is no https address"),
        ("file:///the-token", "is no https address"),
        ("shop.example/the-token", "is no https address"),
        ("the-token", "is no https address"),
        ("https:///the-token", "has no name of a machine"),
        ("https://shop.example:0/the-token", "has no name of a machine"),
        ("https://shop..%31/the-token", "has no name of a machine"),
        ("https://-/the-token", "has no name of a machine"),
        ("https://shop.example:99999/the-token", "is no address"),
        ("https://[shop/the-token", "is no address"),
        ("https://shop.example/the-token x", "has a space or a letter outside ASCII"),
        ("https://shop.example/the-token\r\nx: y", "has a space or a letter outside ASCII"),
        ("https://shöp.example/the-token", "has a space or a letter outside ASCII"),
        ("http://localhost\\the-token", "has no name of a machine"),
        ("https://shop.example/the-token#x", "has a character that no address may have"),
    ],
)
def test_an_address_is_refused_by_its_place_and_not_shown(address, why):
    with pytest.raises(SettingsError, match="LASTAISLE_WEBHOOKS should be") as error:
        Settings.of(webhooks=f"https://shop.example, {address}", webhook_secret=SECRET)
    assert f"address 2 {why}" in str(error.value)
    assert "the-token" not in str(error.value)


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "LASTAISLE_WEBHOOKS is set, and no secret would sign"),
        (",", "LASTAISLE_WEBHOOKS is set, and no secret would sign"),
        ("the-token", "secret 1 is not whsec_ and Base64"),
        (SECRET.removeprefix("whsec_"), "secret 1 is not whsec_ and Base64"),
        (f"{SECRET},whsec_the-token", "secret 2 is not whsec_ and Base64"),
        ("whsec_é", "secret 1 is not whsec_ and Base64"),
        ("whsec_", "secret 1 holds 0 bytes"),
        ("whsec_AAAA", "secret 1 holds 3 bytes"),
        ("whsec_" + "A" * 100, "secret 1 holds 75 bytes"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused_and_not_shown(secret, why):
    with pytest.raises(SettingsError, match="LASTAISLE_WEBHOOK_SECRET should be") as error:
        Settings.of(webhooks="https://shop.example", webhook_secret=secret)
    assert why in str(error.value)
    assert "the-token" not in str(error.value) and SECRET not in str(error.value)


def test_an_address_given_twice_gets_each_message_once():
    settings = Settings.of(
        webhooks="https://a.example,, https://b.example,https://a.example", webhook_secret=SECRET
    )
    assert settings.announcements.addresses == ("https://a.example", "https://b.example")


def test_without_addresses_no_secret_is_needed_and_the_settings_survive_the_environment():
    assert Settings.of().announcements.addresses == ()
    settings = Settings.of(webhooks="https://a.example", webhook_secret=SECRET)
    assert Settings.from_env(settings.to_env()) == settings
    assert SECRET not in repr(settings) and "a.example" not in repr(settings)

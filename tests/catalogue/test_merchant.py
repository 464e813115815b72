"""Feeds of Google Merchant Center, as XML and as tables."""

from __future__ import annotations

import gzip

import pytest

from lastaisle.errors import ExitCode

from .conftest import at

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>
<title>The shop</title><link>https://shop.example</link>
<item>
  <g:id>TV_1</g:id><title>feed title</title><g:title>LG 22&quot; TV &amp; stand</g:title>
  <link>https://shop.example/tv/1</link>
  <g:image_link>https://shop.example/tv/1.jpg</g:image_link>
  <g:product_type>Electronics &gt; TVs</g:product_type>
  <g:google_product_category>404</g:google_product_category>
  <g:brand>LG</g:brand><g:availability>in_stock</g:availability><g:price>159.00 USD</g:price>
  <g:shipping><g:country>US</g:country><g:price>14.95 USD</g:price><g:id>7</g:id></g:shipping>
</item>
<item>
  <g:id>TV_2</g:id><g:title>Sold
     out</g:title><g:availability>out of stock</g:availability><g:price>10.00 EUR</g:price>
  <g:sale_price>8.50 EUR</g:sale_price>
</item>
</channel></rss>
"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<entry><id>urn:1</id><g:id>A</g:id><title><![CDATA[Lamp <b>]]></title>
<g:availability>preorder</g:availability>
<g:price>5 EUR</g:price></entry></feed>"""
TV = {
    "title": 'LG 22" TV & stand',
    "category": "Electronics > TVs",
    "brand": "LG",
    "price": 159.0,
    "currency": "USD",
    "available": True,
    "image": "https://shop.example/tv/1.jpg",
    "url": "https://shop.example/tv/1",
}


def ingest(feed, content, name="feed.xml", **given):
    data = content if isinstance(content, bytes) else content.encode()
    return feed.ingest(feed.write(data, name, **given), "google_merchant")


def test_an_rss_feed_is_read(feed):
    report = ingest(feed, RSS)
    assert (report.rows_in, report.rows_clean) == (2, 2)
    assert feed.now() == {
        "TV_1": TV,
        "TV_2": {"title": "Sold out", "available": False, "price": 8.5, "currency": "EUR"},
    }


def test_an_atom_feed_is_read(feed):
    ingest(feed, ATOM)
    assert feed.now() == {"A": {"title": "Lamp <b>", "available": True, "price": 5.0, "currency": "EUR"}}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_the_declared_encoding_counts(feed, encoding):
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    text = RSS.replace("UTF-8", declared).replace("LG 22&quot; TV", "Fernseher für Köln")
    ingest(feed, text.encode(encoding))
    assert feed.now()["TV_1"]["title"] == "Fernseher für Köln & stand"


def test_a_packed_feed_is_read(feed):
    ingest(feed, gzip.compress(RSS.encode()), "feed.xml.gz")
    assert feed.now()["TV_1"] == TV


def test_a_table_is_read(feed):
    header = "id\ttitle\timage link\tlink\tproduct type\tbrand\tavailability\tprice\tsale price\n"
    row = "TV_1\tLG TV\thttps://s.example/1.jpg\thttps://s.example/1\tTVs\tLG\tbackorder\t159.00 USD\t\n"
    ingest(feed, header + row, "feed.txt")
    assert feed.now() == {
        "TV_1": {
            "title": "LG TV",
            "image": "https://s.example/1.jpg",
            "url": "https://s.example/1",
            "category": "TVs",
            "brand": "LG",
            "available": True,
            "price": 159.0,
            "currency": "USD",
        }
    }


@pytest.mark.parametrize(
    ("interval", "price"),
    [
        ("2025-10-19T00:00+0100/2025-10-21T00:00+0100", 8.5),
        ("2025-10-01T00:00Z/2025-10-02T00:00Z", 10.0),
        ("2025-11-01T00:00Z/2025-12-02T00:00Z", 10.0),
        ("from Monday on", 10.0),
        ("", 8.5),
    ],
)
def test_a_sale_price_counts_only_in_its_time(feed, interval, price):
    date = f"<g:sale_price_effective_date>{interval}</g:sale_price_effective_date></item>\n</channel>"
    ingest(feed, RSS.replace("</item>\n</channel>", date))
    assert feed.now()["TV_2"]["price"] == price


BOMB = '<!DOCTYPE rss [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("declaration", [BOMB, OUTSIDE, '<!DOCTYPE rss SYSTEM "http://127.0.0.1/x.dtd">'])
def test_a_document_type_is_refused(feed, declaration):
    head, _, rest = RSS.partition("<rss")
    path = feed.write((head + declaration + "<rss" + rest.replace("LG 22", "&a;")).encode(), "feed.xml")
    report = feed.ingest(path, "google_merchant")
    assert "declares a document type" in report.files_failed[path]
    assert feed.now() == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<html><body>404 not found</body></html>", "no Merchant feed: its first element is <html>"),
        ("<!DOCTYPE html><html></html>", "declares a document type"),
        (RSS.replace("</g:brand>", "</brand>"), "no well-formed XML: mismatched tag in line 10"),
        (RSS.replace("&quot;", "&nbsp;"), "no well-formed XML: undefined entity in line 5"),
        (f"<rss>{'<a>' * 99}", "stand 51 deep"),
        (f"<rss><item a='{'x' * (20 << 20)}'/></rss>", "longer than 8 MiB"),
    ],
)
def test_what_is_no_feed_is_refused_by_name(feed, content, why):
    path = feed.write(content.encode(), "feed.xml")
    report = feed.ingest(path, "google_merchant")
    assert report.exit_code == ExitCode.FAILED
    assert why in report.files_failed[path]


def test_the_items_before_a_cut_are_read_and_nothing_is_removed(feed):
    ingest(feed, RSS, hour=0)
    report = ingest(feed, RSS[: RSS.index("<g:id>TV_2")].replace("159", "149"), "cut.xml", hour=1)
    assert report.quarantined_by_rule == {"file_truncated": 1}
    assert report.items_doubtful == 1
    assert feed.now()["TV_1"]["price"] == 149.0
    assert set(feed.now()) == {"TV_1", "TV_2"}


def test_an_item_that_is_too_long_is_quarantined(feed):
    report = ingest(feed, RSS.replace("LG 22", "x" * (2 << 20)))
    assert report.quarantined_by_rule == {"line_too_long": 1}
    assert set(feed.now()) == {"TV_2"}


def test_a_broken_item_names_its_number_and_its_rule(feed):
    ingest(feed, RSS.replace("10.00 EUR", "ten EUR").replace("8.50 EUR", "eight EUR"))
    assert feed.broken() == [(2, ["price_is_number"])]


def test_xml_under_another_format_names_what_it_is(feed):
    path = feed.write(RSS.encode(), "feed.xml")
    assert "HTML or XML document" in feed.ingest(path).files_failed[path]


def test_xml_without_a_declaration_under_another_format_names_the_right_format(feed):
    path = feed.write(b"<rss><channel><item><id>1</id></item></channel></rss>", "feed.xml")
    assert "use --format google_merchant" in feed.ingest(path).files_failed[path]


def test_a_feed_without_items_gives_no_row(feed):
    report = ingest(feed, "<rss><channel/></rss>", hour=1)
    assert report.rows_in == 0
    assert len(report.files_passed_over) == 1
    assert feed.now(at(1)) == {}

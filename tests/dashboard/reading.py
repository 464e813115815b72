"""What a reader sees on a page, and the numbers of its charts."""

import html
import json
import re


def text_of(answer):
    """Return a page without its elements, in one line."""
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))
    return re.sub(r" ([.,:])", r"\1", text)


def chart_of(answer, name):
    """Return what the script of a page draws as one chart."""
    figure = answer.text.partition(f'id="chart-{name}"')[2]
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)[1])


def lines_of(answer, name):
    """Return the values of each line of a chart."""
    return {line["name"]: line["values"] for line in chart_of(answer, name)["series"]}

"""Print the documentation page of the settings: python -m lastaisle.settings > docs/settings.md."""

from __future__ import annotations

import sys

from lastaisle.settings.page import page

sys.stdout.write(page())

"""Run the command line as `python -m lastaisle.cli`."""

from lastaisle.cli import main

main()

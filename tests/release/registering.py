"""A script of the tests: two processes release the candidate of one run at the same moment.

Usage: python -m tests.release.registering HOME RUN_ID MOMENT. The process waits for the moment, in seconds
since the epoch, releases, and prints the version.
"""

import sys
import time

from lastaisle.release.release import release_candidate
from tests.shops.made_up_shop import Installation


def main(home, run_id, moment):
    shop = Installation(home)
    time.sleep(max(0.0, float(moment) - time.time()))
    release_candidate(run_id, shop.lake, shop.registry, actor="tester")
    sys.stdout.write(str(shop.registry.version_for_run(run_id)))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""How many examples property tests try: as many as a quick run can afford, or ``PORTAL_TEST_FACTOR`` times as many."""

import os

FACTOR = int(os.environ.get("PORTAL_TEST_FACTOR", "1"))


def times(usual: int) -> int:
    return usual * FACTOR

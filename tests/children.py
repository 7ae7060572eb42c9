"""What tests run in processes of their own: ``python -m tests.children TASK ARGUMENT...`` (see `tests.crowd`)."""

import os
import signal
import sys
from typing import Any, NoReturn

import django

DEATHS = ("before", "after")


def limiter(name: str, tries: str) -> None:
    """For each value that a line of the input names: ``tries`` counts of the rate, and how many passed as a line."""
    from hitobit_portal import ratelimits

    rate = ratelimits.Rate[name]
    print("ready", flush=True)
    for line in sys.stdin:
        passed = [ratelimits.take(rate, line.strip()) is None for _n in range(int(tries))]
        print(sum(passed), flush=True)


def reveal(moment: str, session: str, path: str) -> None:
    """Asks for the page that shows a secret, and dies by SIGKILL before or right after the write that decides."""
    from django.conf import settings
    from django.db import connection

    from hitobit_portal import crypto
    from tests import people

    def killed(*arguments: Any) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a process outlived SIGKILL")

    def watch(execute: Any, sql: str, *arguments: Any) -> Any:
        if moment == "before" and "revealed_at" in sql and sql.startswith("UPDATE"):
            killed()
        return execute(sql, *arguments)

    if moment == "after":
        crypto.unseal = killed
    browser = people.browser()
    browser.cookies[settings.SESSION_COOKIE_NAME] = session
    with connection.execute_wrapper(watch):
        print(browser.get(path).content.decode())


def main(task: str, *arguments: str) -> None:
    django.setup()
    {"limiter": limiter, "reveal": reveal}[task](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])

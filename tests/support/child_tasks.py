"""Tasks that tests run in their own processes: ``python -m tests.support.child_tasks TASK ARGUMENT...``."""

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import django

DEATHS = ("before", "after")


def limiter(name: str, tries: str) -> None:
    """For each value that a line of the input names: ``tries`` counts of the rate, and how many passed as a line."""
    from hitobit_portal.security import ratelimits

    rate = ratelimits.Rate[name]
    print("ready", flush=True)
    for line in sys.stdin:
        passed = [ratelimits.acquire(rate, line.strip()) is None for _n in range(int(tries))]
        print(sum(passed), flush=True)


def reveal(moment: str, session: str, path: str) -> None:
    """Asks for the page that shows a secret, and dies by SIGKILL before or right after the write that decides."""
    from django.conf import settings
    from django.db import connection

    from hitobit_portal.security import crypto
    from tests.support import people

    def killed(*arguments: Any) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a process outlived SIGKILL")

    def watch(execute: Any, sql: str, *arguments: Any) -> Any:
        if moment == "before" and "revealed_at" in sql and sql.startswith("UPDATE"):
            killed()
        return execute(sql, *arguments)

    if moment == "after":
        crypto.unseal = killed  # type: ignore[assignment]
    browser = people.browser()
    browser.cookies[settings.SESSION_COOKIE_NAME] = session
    with connection.execute_wrapper(watch):
        print(browser.get(path).content.decode())


def unsealed(phone: str) -> None:
    """Records an event of the account, and dies by SIGKILL between its commit and its link."""
    from accounts import audit
    from accounts.audit import chain
    from accounts.choices.events import Event
    from accounts.models import User

    def killed(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    chain._round = killed
    audit.record(Event.LOGOUT, None, customer=User.objects.get(phone=phone))


def rows() -> dict[str, int]:
    """How many rows each table has."""
    from django.apps import apps

    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


@contextmanager
def held(path: str) -> Iterator[None]:
    """Another program writes to the SQLite database meanwhile, and does not come to an end."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    yield
    other.execute("ROLLBACK")
    other.close()


def locked() -> None:
    """Makes a key on SQLite while another program holds the database, and prints as JSON what happened."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from apikeys.models import ApiKey
    from tests.support import people, sms_collector

    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    connection.settings_dict["OPTIONS"]["timeout"] = 0.2
    call_command("migrate", verbosity=0)
    sara = people.with_password(people.customer())
    browser, waiting = people.logged_in(sara), people.half_logged_in(sara)
    browser.post("/keys/", {"name": "bot"})
    codes = {"sms_code": sms_collector.newest().code, "totp_code": sara.totp()}
    login = {"phone": sara.user.phone, "password": sara.password}
    before = rows()
    with held(settings.DATABASES["default"]["NAME"]):
        answers = [
            browser.post("/keys/new/verify/", codes),
            browser.post("/keys/", {"name": "other"}),
            waiting.post("/login/second-factor/?method=totp", {"code": codes["totp_code"]}),
            people.browser().post("/login/", login),
        ]
        unchanged = rows() == before
    made = browser.post("/keys/new/verify/", codes)
    page = browser.get(made.headers["Location"])
    result = {
        "while locked": [answer.status_code for answer in answers],
        "unchanged": unchanged,
        "afterwards": [
            made.status_code,
            page.status_code,
            people.browser().post("/login/", login).status_code,
        ],
        "secret shown": people.secret_of(ApiKey.objects.get()).encode() in page.content,
    }
    print(json.dumps(result))


def main(task: str, *arguments: str) -> None:
    django.setup()
    tasks: dict[str, Callable[..., None]] = {
        "limiter": limiter,
        "reveal": reveal,
        "locked": locked,
        "unsealed": unsealed,
    }
    tasks[task](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])

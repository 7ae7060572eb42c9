"""A real PgBouncer with deploy/pgbouncer/pgbouncer.ini before the PostgreSQL of the tests."""

import os
import pwd
import shutil
from urllib.parse import urlsplit

import psycopg

from tests.conftest import unavailable
from tests.support.portal_nginx import replaced
from tests.support.production import ROOT
from tests.support.servers import Server


class PgBouncer(Server):
    """In front of the database ``url``, with `SIZE` connections to it."""

    name = "pgbouncer"
    SIZE = 3

    def __init__(self, url: str) -> None:
        super().__init__()
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            unavailable("pgbouncer is not installed")
            raise AssertionError
        self._program, self._target = program, urlsplit(url)
        users = self.directory / "userlist.txt"
        users.write_text(f'"{self._target.username}" "{self._target.password}"\n', encoding="utf-8")
        database = self._target.path.lstrip("/")
        text = replaced(
            (ROOT / "deploy/pgbouncer/pgbouncer.ini").read_text(encoding="utf-8"),
            {
                "\nportal = host=127.0.0.1 port=5432 dbname=portal": (
                    f"\n{database} = host=127.0.0.1 port={self._target.port} dbname={database}"
                ),
                "listen_port = 6432": f"listen_port = {self.port}",
                "/etc/pgbouncer/userlist.txt": str(users),
                "default_pool_size = 20": f"default_pool_size = {self.SIZE}",
            },
        )
        (self.directory / "pgbouncer.ini").write_text(f"{text}unix_socket_dir =\n", encoding="utf-8")
        if os.geteuid() == 0:  # PgBouncer refuses to run as root
            self.user = "nobody"
            for path in (self.directory, *self.directory.iterdir()):
                os.chown(path, pwd.getpwnam(self.user).pw_uid, -1)

    def command(self) -> list[str]:
        return [self._program, str(self.directory / "pgbouncer.ini")]

    def ping(self) -> None:
        psycopg.connect(self.url, connect_timeout=5).close()

    @property
    def url(self) -> str:
        return self._target._replace(
            netloc=f"{self._target.username}:{self._target.password}@127.0.0.1:{self.port}"
        ).geturl()

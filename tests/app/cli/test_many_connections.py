"""How many clients a worker takes at once: neither the number of workers nor a shell's limit of files makes it few."""

import subprocess
import sys

import msgspec
import pytest

from app.cli.proxy import server_of
from config.load import load_settings
from tests.support.proxy import ROOT

TELL = """
import resource
from app.cli.proxy import allow_files
print(allow_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize("workers", [1, 8, 64])
def test_each_of_many_workers_takes_as_many_connections_as_one(workers: int) -> None:
    settings = msgspec.structs.replace(load_settings({"ENV": "/dev/null"}), workers=workers)

    assert server_of(settings, files=65_536).backpressure == 16_384


def test_it_takes_no_more_connections_than_it_has_files_for_both_their_ends() -> None:
    settings = load_settings({"ENV": "/dev/null"})

    assert server_of(settings, files=1000).backpressure == 500


def test_a_shells_low_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    shell = 'ulimit -Sn 200 && ulimit -Hn 900 && exec "$@"'
    command = ["sh", "-c", shell, "sh", sys.executable, "-c", TELL]

    told = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=300)

    assert told.stdout.split() == [b"900", b"900"]

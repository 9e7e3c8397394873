"""/manage over real sockets: what only a real server can get wrong."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from tests.admin.api.conftest import TOKEN
from tests.admin.api.served import serve
from tests.support.stores import sqlite_settings

AUTH = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("manage")
    with serve(sqlite_settings(folder), folder) as url:
        yield url


def raw(url: str, request: bytes) -> bytes:
    """What comes back until the server closes or falls silent after a whole reply."""
    with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0), 60) as peer:
        peer.sendall(request)
        received = b""
        while piece := peer.recv(65_536):
            received += piece
        return received


def test_a_project_and_its_token_over_a_socket(served: str) -> None:
    with httpx.Client(base_url=served, headers=AUTH) as client:
        project = client.post("/manage/projects", json={"name": "ä & <b>", "api_key": "sk-0123456789abcdefghijkl"})
        token = client.post("/manage/tokens", json={"project_id": project.json()["id"], "duration_minutes": 1})
        listed = client.get("/manage/tokens", params={"project_id": project.json()["id"]})

    assert (project.status_code, token.status_code) == (201, 201)
    assert project.json()["name"] == "ä & <b>"
    assert [row["id"] for row in listed.json()] == [token.json()["id"]]


def test_head_has_the_headers_of_get_and_leaves_the_connection_sound(served: str) -> None:
    with httpx.Client(base_url=served, headers=AUTH) as client:
        head = client.head("/manage/projects")
        after = client.get("/manage/projects")

    assert (head.status_code, head.content, after.status_code) == (200, b"", 200)
    assert head.headers["content-length"] == after.headers["content-length"]


def test_a_body_that_is_too_large_is_refused_before_it_has_arrived(served: str) -> None:
    head = f"POST /manage/projects HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n"

    reply = raw(served, head.encode() + b"Content-Length: 99999999999\r\n\r\n{")

    assert reply.startswith(b"HTTP/1.1 413 ")


def test_a_caller_that_leaves_in_the_middle_changes_nothing(served: str) -> None:
    head = f"POST /manage/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 16\r\n\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(served).port or 0), 60) as peer:
        peer.sendall(head.encode() + b'{"name":"half')

    found = httpx.get(served + "/manage/projects", params={"search": "half"}, headers=AUTH)
    assert found.json() == []


def test_a_header_in_latin_1_is_no_token(served: str) -> None:
    reply = raw(
        served, b"GET /manage/projects HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\r\n\r\n"
    )

    assert reply.startswith(b"HTTP/1.1 401 ")


def test_projects_of_one_name_at_the_same_time_become_one(served: str) -> None:
    def create(_: int) -> int:
        return httpx.post(served + "/manage/projects", headers=AUTH, json={"name": "one"}).status_code

    with ThreadPoolExecutor(8) as threads:
        codes = sorted(threads.map(create, range(8)))

    assert codes == [201] + [409] * 7

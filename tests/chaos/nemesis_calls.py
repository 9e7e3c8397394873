"""Calls that a fault makes itself, one after the other; they are noted like those of the load generator."""

import http.client
import re
from pathlib import Path

import msgspec

from tests.chaos.calls import Call
from tests.chaos.evidence import Diary

_LONGEST_S = 60.0


def ask(port: int, call: Call, diary: Diary) -> tuple[int, str]:
    """The status, 0 when no whole reply came, and the event's id."""
    diary.sent(call.request_id, call.body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONGEST_S)
    try:
        reply = _send(connection, call)
        event_id = reply.headers["x-llm-proxy-event-id"]
        diary.seen(event_id, call.request_id)
        reply.read()
        diary.acked(event_id, call.request_id, reply.status, 0)
    except (OSError, http.client.HTTPException) as error:
        diary.failed(call.request_id, type(error).__name__)
        return 0, ""
    finally:
        connection.close()
    return reply.status, event_id


class OpenStream:
    """A stream that goes on until somebody ends it; its first chunk has come."""

    def __init__(self, port: int, call: Call, diary: Diary) -> None:
        self.request_id = call.request_id
        diary.sent(call.request_id, call.body)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONGEST_S)
        reply = _send(self._connection, call)
        diary.seen(reply.headers["x-llm-proxy-event-id"], call.request_id)
        reply.read(10)

    def close(self) -> None:
        self._connection.close()


def _send(connection: http.client.HTTPConnection, call: Call) -> http.client.HTTPResponse:
    headers = {
        "authorization": f"Bearer {call.token}",
        "content-type": "application/json",
        "x-request-id": call.request_id,
        "x-chaos": call.directions or "none",
    }
    connection.request("POST", call.path, call.body, headers)
    return connection.getresponse()


def cuts_in_file(folder: Path, request_ids: set[str]) -> dict[str, list[str]]:
    """Request id to the `cut` of each of its events in the JSONL files."""
    found: dict[str, list[str]] = {}
    wanted = re.compile(b"|".join(re.escape(request_id.encode()) for request_id in request_ids))
    for path in folder.glob("*.jsonl*"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            if wanted.search(line):
                metadata = msgspec.json.decode(line)["metadata"]
                found.setdefault(metadata["request_id"], []).append(metadata.get("cut", ""))
    return found

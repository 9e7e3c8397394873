"""What htmx 4 asks and what it is told. A request without htmx never sees a difference but the whole page."""

import json

from starlette.requests import Request
from starlette.responses import Response


def is_partial(request: Request) -> bool:
    """Whether the fragment alone is wanted; history restores and boosted loads get the whole page."""
    return request.headers.get("hx-request-type") == "partial"


def is_from_form(request: Request) -> bool:
    return request.headers.get("hx-source", "").startswith("form")


def toast(response: Response, level: str, text: str) -> None:
    # json, not msgspec: a header is Latin-1, so everything beyond ASCII must be escaped
    response.headers["HX-Trigger"] = json.dumps({"toast": {"level": level, "text": text}})


def redirect(url: str) -> Response:
    """A whole new page: htmx follows this header whatever the status is."""
    return Response(status_code=200, headers={"HX-Redirect": url})


def keep_target(response: Response) -> None:
    """The answer is no content for the place that asked."""
    response.headers["HX-Reswap"] = "none"


def show_address(response: Response, url: str) -> None:
    response.headers["HX-Replace-Url"] = url

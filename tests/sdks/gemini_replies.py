"""What Gemini answers, after its API reference (ai.google.dev/api/generate-content)."""

from typing import Any

from bus.event import Usage

MODEL = "gemini-2.5-flash"
RESPONSE_ID = "mAitaLmkHPPlz7IPvtfUqQ4"
COUNTED = Usage(input=120, cache_read=80, output=12, reasoning=30)
USAGE: dict[str, Any] = {
    "promptTokenCount": 200,
    "cachedContentTokenCount": 80,
    "candidatesTokenCount": 12,
    "thoughtsTokenCount": 30,
    "totalTokenCount": 242,
}


def generated(*parts: dict[str, Any], reason: str | None = "STOP", usage: dict[str, Any] = USAGE) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL, "responseId": RESPONSE_ID}


def text_pieces(*words: str) -> list[dict[str, Any]]:
    so_far = {"promptTokenCount": 200, "totalTokenCount": 200}
    *before, last = [{"text": word} for word in words]
    return [*(generated(part, reason=None, usage=so_far) for part in before), generated(last)]

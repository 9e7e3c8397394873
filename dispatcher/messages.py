"""Who said what, in the GenAI conventions' form, out of any dialect's call and reply.

    {"role": "user", "parts": [{"type": "text", "content": "..."}]}
    parts: text, reasoning, tool_call, tool_call_response; of pictures, sounds and files only that they were there

https://github.com/open-telemetry/semantic-conventions-genai, gen-ai-input-messages.json and its siblings
"""

import contextlib
from typing import Any

import msgspec

from dispatcher.merging import Json, object_in, objects_in, text_in
from dispatcher.said import Said

_REASONING = ("reasoning_content", "reasoning")


def asked(said: Said) -> list[Json]:
    """The messages of the call, in order."""
    call = said.call
    if said.shape == "gemini":
        return [_gemini_message(content) for content in objects_in(call.get("contents"))]
    told = call.get("messages", call.get("input", call.get("prompt")))
    if isinstance(told, str):
        return [_message("user", [_text(told)])]
    if isinstance(told, list) and any(isinstance(one, str) for one in told):  # embeddings, completions
        return [_message("user", [_text(one) for one in told if isinstance(one, str)])]
    read = _anthropic_message if said.shape == "anthropic" else _openai_message
    return [read(one) for one in objects_in(told)]


def system_of(said: Said) -> list[Json]:
    """Instructions that stand beside the messages; those among them stay there."""
    call = said.call
    if said.shape == "gemini":
        told = object_in(call.get("systemInstruction") or call.get("system_instruction"))
        return _gemini_message(told)["parts"] if told else []
    return _parts(call.get("system") if said.shape == "anthropic" else call.get("instructions"))


def answered(said: Said) -> list[Json]:
    """The messages of the reply, one per choice, each with its `finish_reason` where it has one."""
    reply = said.reply
    if said.shape == "anthropic":
        return [_finished(_anthropic_message(reply), reply.get("stop_reason"))] if reply.get("content") else []
    if said.shape == "gemini":
        candidates = objects_in(reply.get("candidates"))
        return [_finished(_gemini_message(object_in(c.get("content"))), c.get("finishReason")) for c in candidates]
    if "output" in reply:  # Responses
        parts = [part for item in objects_in(reply["output"]) for part in _openai_message(item)["parts"]]
        return [_finished(_message("assistant", parts), reply.get("status"))] if parts else []
    return [_choice(choice) for choice in objects_in(reply.get("choices"))]


def finish_reasons(said: Said) -> list[str]:
    return [message["finish_reason"] for message in answered(said) if message.get("finish_reason")]


def plain_text(messages: list[Json]) -> str:
    """What is said in them in words."""
    parts = [part for message in messages for part in message["parts"]]
    return "\n".join(part["content"] for part in parts if part["type"] == "text")


def _message(role: str, parts: list[Json]) -> Json:
    return {"role": role or "user", "parts": parts}


def _finished(message: Json, reason: object) -> Json:
    role = "assistant" if message["role"] in ("user", "model") else message["role"]
    told = {"finish_reason": text_in(reason).lower()} if text_in(reason) else {}
    return {**message, "role": role, **told}


def _text(content: str) -> Json:
    return {"type": "text", "content": content}


def _choice(choice: Json) -> Json:
    if "message" not in choice:
        return _finished(_message("assistant", _parts(choice.get("text"))), choice.get("finish_reason"))
    return _finished(_openai_message(object_in(choice["message"])), choice.get("finish_reason"))


def _openai_message(told: Json) -> Json:
    """A message of chat, or an item of the Responses API."""
    kind = told.get("type")
    if kind in ("function_call", "custom_tool_call"):
        arguments = told.get("arguments", told.get("input"))
        return _message("assistant", [_tool_call(told.get("call_id"), told.get("name"), arguments)])
    if kind in ("function_call_output", "custom_tool_call_output"):
        return _message("tool", [_tool_reply(told.get("call_id"), told.get("output"))])
    if kind == "reasoning":
        return _message("assistant", [_reasoning(text_in(s.get("text"))) for s in objects_in(told.get("summary"))])
    if told.get("role") == "tool":
        return _message("tool", [_tool_reply(told.get("tool_call_id"), told.get("content"))])
    parts = [_reasoning(text) for name in _REASONING if (text := text_in(told.get(name)))][:1]
    parts += _parts(told.get("content")) + _parts(told.get("refusal"))
    for call in objects_in(told.get("tool_calls")):
        function = object_in(call.get("function"))
        parts.append(_tool_call(call.get("id"), function.get("name"), function.get("arguments")))
    return _message(text_in(told.get("role")), parts)


def _anthropic_message(told: Json) -> Json:
    parts: list[Json] = []
    content = told.get("content")
    for block in objects_in(content):
        kind = block.get("type")
        if kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            parts.append(_tool_call(block.get("id"), block.get("name"), block.get("input")))
        elif kind == "tool_result":
            parts.append(_tool_reply(block.get("tool_use_id"), block.get("content")))
        elif kind == "thinking":
            parts.append(_reasoning(text_in(block.get("thinking"))))
        else:
            parts += _parts([block])
    return _message(text_in(told.get("role")), parts or _parts(content))


def _gemini_message(told: Json) -> Json:
    parts: list[Json] = []
    for part in objects_in(told.get("parts")):
        if isinstance(part.get("text"), str):
            parts.append(_reasoning(part["text"]) if part.get("thought") is True else _text(part["text"]))
        elif call := object_in(part.get("functionCall")):
            parts.append(_tool_call(call.get("id"), call.get("name"), call.get("args")))
        elif reply := object_in(part.get("functionResponse")):
            parts.append(_tool_reply(reply.get("id") or reply.get("name"), reply.get("response")))
        else:
            parts.append({"type": next(iter(part), "unknown")})
    return _message(text_in(told.get("role")).replace("model", "assistant"), parts)


def _parts(content: Any) -> list[Json]:
    """Text, or a list of typed pieces; those that are not text keep only their type."""
    if isinstance(content, str):
        return [_text(content)] if content else []
    return [_part(one) for one in objects_in(content)]


def _part(told: Json) -> Json:
    text = told.get("text", told.get("refusal"))
    return _text(text) if isinstance(text, str) else {"type": text_in(told.get("type")) or "unknown"}


def _reasoning(content: str) -> Json:
    return {"type": "reasoning", "content": content}


def _tool_call(call_id: object, name: object, arguments: object) -> Json:
    """Arguments as JSON, when they are some."""
    if isinstance(arguments, str):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
            arguments = msgspec.json.decode(arguments)
    return {"type": "tool_call", "id": text_in(call_id) or None, "name": text_in(name), "arguments": arguments}


def _tool_reply(call_id: object, response: object) -> Json:
    if isinstance(response, list):
        response = "\n".join(str(part.get("content", part["type"])) for part in _parts(response))
    return {"type": "tool_call_response", "id": text_in(call_id) or None, "response": response}

"""The Responses API through the official OpenAI client."""

from openai import OpenAI

from tests.sdks import openai_replies as openai
from tests.sdks.records import Records
from tests.sdks.script import answers, named_events, sent_json, streams
from tests.support.upstream import Upstream

RESPONSES = "/v1/responses"


def test_a_response_comes_back_as_the_sdks_own_object(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    answers(upstream, RESPONSES, openai.response("Grüezi!"))

    reply = openai_client.responses.create(model="gpt-4.1", input="Hallo?", previous_response_id="resp_before")

    assert reply.output_text == "Grüezi!"
    records.tell(model="gpt-4.1", usage=openai.RESPONSE_COUNTED, response_id=openai.RESPONSE_ID)
    assert records.the_one().conversation_id == "resp_before"


def test_a_streamed_response_comes_event_by_event(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    streams(upstream, RESPONSES, named_events(*openai.response_events("Grü", "ezi")))

    stream = openai_client.responses.create(model="gpt-4.1", input="Hallo?", stream=True)
    events = list(stream)

    assert [e.type for e in events][-1] == "response.completed"
    assert [e.delta for e in events if e.type == "response.output_text.delta"] == ["Grü", "ezi"]
    records.tell(model="gpt-4.1", usage=openai.RESPONSE_COUNTED, response_id=openai.RESPONSE_ID, streamed=True)


def test_the_streaming_helper_gives_the_final_response(openai_client: OpenAI, upstream: Upstream) -> None:
    streams(upstream, RESPONSES, named_events(*openai.response_events("Grü", "ezi")), cut_every=11)

    with openai_client.responses.stream(model="gpt-4.1", input="Hallo?") as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()

    assert final.output_text == "Grüezi"


def test_function_calls_and_their_outputs_pass(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "status": "completed"}
    answers(upstream, RESPONSES, openai.response(output=[{**call, "arguments": '{"city":"Zürich"}'}]))

    reply = openai_client.responses.create(
        model="gpt-4.1",
        input=[{"type": "function_call_output", "call_id": "call_0", "output": "12"}],
        tools=[{"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}],
    )

    (item,) = reply.output
    assert item.type == "function_call"
    assert item.arguments == '{"city":"Zürich"}'
    assert sent_json(upstream)["input"][0]["output"] == "12"
    records.tell(model="gpt-4.1", usage=openai.RESPONSE_COUNTED, response_id=openai.RESPONSE_ID)


def test_a_stored_response_that_is_told_again_is_not_counted_again(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    answers(upstream, f"{RESPONSES}/{openai.RESPONSE_ID}", openai.response("Grüezi!"))

    reply = openai_client.responses.retrieve(openai.RESPONSE_ID)

    assert reply.usage is not None and reply.usage.total_tokens == 56
    assert records.the_one().usage is None


def test_a_response_is_deleted(openai_client: OpenAI, upstream: Upstream) -> None:
    answers(upstream, f"{RESPONSES}/{openai.RESPONSE_ID}", {"id": openai.RESPONSE_ID, "deleted": True})

    openai_client.responses.delete(openai.RESPONSE_ID)

    assert upstream.received[-1].method == "DELETE"

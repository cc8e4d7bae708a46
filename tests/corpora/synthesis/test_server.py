"""One request over HTTP: what the server may answer, and what becomes of it."""

import gzip
import time
from email.utils import formatdate

import pytest
from chat_server import ODD, Reply, completed, completion, failure
from synthesis_parameters import model_settings

from ruri_kedro.corpora.synthesis import server as asking
from ruri_kedro.corpora.synthesis.chat import Answer, Prompt, Refused, TryAgain
from ruri_kedro.corpora.synthesis.server import ChatServer
from ruri_kedro.errors import RecipeError, SynthesisError

OPTIONS = {"max_tokens": 64, "temperature": 0.5}
REQUEST = Prompt("$text とは", "編集者です。").request({"text": "山"}, "swallow", OPTIONS)


def model(url: str, **given) -> ChatServer:
    return ChatServer(model_settings("server", "swallow", OPTIONS, base_url=url, **given))


def test_a_request_holds_model_messages_and_options(server):
    server.reply = lambda prompt, times: completion("はい。", prompt_tokens=21, completion_tokens=4)
    assert model(server.url + "/").complete(REQUEST) == Answer("はい。", "stop", 21, 4)
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions" and "Authorization" not in headers
    messages = [{"role": "system", "content": "編集者です。"}, {"role": "user", "content": "山 とは"}]
    assert body == {"model": "swallow", "messages": messages, **OPTIONS}


def test_what_servers_leave_out(server):
    server.reply = lambda prompt, times: Reply(b'{"choices": [{"message": {"content": null}}]}')
    assert model(server.url).complete(REQUEST) == Answer("", "stop", 0, 0)


def test_the_key_goes_to_the_server_and_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("RURI_TEST_KEY", "sk-secret")
    client = model(server.url, api_key_env="RURI_TEST_KEY")
    client.complete(REQUEST)
    assert server.asked[0][1]["Authorization"] == "Bearer sk-secret"
    for reply in (*(failure(status, "no key sk-secret") for status in (400, 401, 500)), Reply(b"sk-secret")):
        server.reply = lambda prompt, times, reply=reply: reply
        with pytest.raises((TryAgain, Refused, SynthesisError)) as error:
            client.complete(REQUEST)
        assert "sk-secret" not in f"{error.value!r}{error.value}" and "***" in str(error.value)


def test_a_key_that_is_not_set(server, monkeypatch):
    monkeypatch.delenv("RURI_TEST_KEY", raising=False)
    with pytest.raises(RecipeError, match=r"RURI_TEST_KEY \(synthesis\.model\.api_key_env\) is not set"):
        model(server.url, api_key_env="RURI_TEST_KEY")
    assert not server.asked


@pytest.mark.parametrize(
    "reply",
    [
        failure(408), failure(429), failure(500), failure(503), Reply(b"<html>bad gateway</html>", 502),
        Reply(b"<html>log in</html>"), Reply(b""), Reply(b'{"choices": []}'), Reply(b"[]"), Reply(b"\xff\xfe"),
        Reply(b'{"choices": [{"message": {"content": 3}}]}'), Reply(b'{"choices": [{"text": "old"}]}'),
        Reply(completion("山。").body, cut=20), Reply(b"{}", delay=3.0),
    ],
)  # fmt: skip
def test_what_may_pass_is_to_be_tried_again(server, reply):
    server.reply = lambda prompt, times: reply
    with pytest.raises(TryAgain) as error:
        model(server.url, timeout=0.5 if reply.delay else 60).complete(REQUEST)
    assert error.value.reached and error.value.wait is None and str(error.value)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_answer_is_to_be_tried_again(server, kind):
    server.reply = lambda prompt, times: ODD[kind]
    with pytest.raises(TryAgain) as error:
        model(server.url).complete(REQUEST)
    assert error.value.reached and error.value.wait is None and 0 < len(str(error.value)) < 500


def test_an_answer_without_end_is_to_be_tried_again(server, monkeypatch):
    monkeypatch.setattr(asking, "_LONGEST", 1 << 20)
    server.reply = lambda prompt, times: Reply(b" " * (1 << 21))
    with pytest.raises(TryAgain, match="an answer of more than 1 MiB"):
        model(server.url).complete(REQUEST)
    server.reply = lambda prompt, times: Reply(gzip.compress(b" " * (1 << 21)), headers={"Content-Encoding": "gzip"})
    with pytest.raises(TryAgain, match="an answer of more than 1 MiB"):
        model(server.url).complete(REQUEST)


def test_an_answer_packed_on_the_way_and_fractions_that_are_whole_are_read(server):
    packed = gzip.compress(completed("はい。", {"prompt_tokens": 3.0, "completion_tokens": None}).body)
    server.reply = lambda prompt, times: Reply(packed, headers={"Content-Encoding": "gzip"})
    assert model(server.url).complete(REQUEST) == Answer("はい。", "stop", 3, 0)


@pytest.mark.parametrize(
    "reply",
    [Reply(b"[" * 200_000, 500), Reply(b'{"error": [[]]}', 503), Reply(b'{"error": null}', 500), Reply(b"", 502)],
)
def test_an_odd_error_is_an_error_like_others(server, reply):
    server.reply = lambda prompt, times: reply
    with pytest.raises(TryAgain, match=f"HTTP {reply.status}: "):
        model(server.url).complete(REQUEST)


def test_the_time_to_wait_is_the_servers(server):
    odd = ["soon", "nan", "inf", "1e999", "Mon, 99 Foo 99999 99:99:99 GMT", "Mon, 01 Jan 0001 00:00:00 +2300", ""]
    headers = ["7", "0.5", formatdate(time.time() + 60, usegmt=True), formatdate(time.time() - 60, usegmt=True), *odd]
    server.reply = lambda prompt, times: failure(429, Retry_After=headers[times])
    waits = []
    for _ in headers:
        with pytest.raises(TryAgain) as error:
            model(server.url).complete(REQUEST)
        waits.append(error.value.wait)
    assert waits[:2] == [7.0, 0.5] and 0 < waits[2] <= 60 and waits[3] == 0.0
    assert all(wait in (None, 0.0) for wait in waits[4:])


def test_no_server_is_told_from_a_bad_one():
    with pytest.raises(TryAgain, match=r"http://127\.0\.0\.1:9/v1/chat/completions cannot be reached") as error:
        model("http://127.0.0.1:9/v1").complete(REQUEST)
    assert not error.value.reached


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_server_refuses_is_not_tried_again(server, status):
    server.reply = lambda prompt, times: failure(status, "the prompt is\ntoo long")
    with pytest.raises(Refused, match=f"HTTP {status}: the prompt is too long"):
        model(server.url).complete(REQUEST)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (failure(401), r"refuses access\. HTTP 401: no\. .*synthesis\.model\.api_key_env"),
        (failure(403), r"refuses access"),
        (failure(404, "no such model"), r"'swallow'\. HTTP 404: no such model\. .*synthesis\.model\.base_url"),
        (failure(402, "no credit"), r"no credit.*account"),
        (Reply(b"", 302, {"Location": "/login"}), r"HTTP 302: Found"),
    ],
)
def test_what_no_request_will_change_ends_the_run(server, reply, message):
    server.reply = lambda prompt, times: reply
    with pytest.raises(SynthesisError, match=message):
        model(server.url).complete(REQUEST)

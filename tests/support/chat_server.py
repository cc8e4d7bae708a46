"""An OpenAI-compatible server for tests, on a real port: what it answers is a function of what it is asked."""

import http.server
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Reply:
    """What the server sends: `cut` bytes less than it announces, after `delay` seconds."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int = 0


def completion(text: str | None, finish: str = "stop", prompt_tokens: int = 10, completion_tokens: int = 5) -> Reply:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return Reply(json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode())


def answer(prompt: str, times: int) -> Reply:
    """What a language model says to the prompts of the pipeline `synthesis`."""
    if '"score"' in prompt:
        return completion('{"score": 5}')
    if "contradiction" in prompt:
        return completion('```json\n{"contradiction": "それは誤りだ。", "entailment": "それは正しい。"}\n```')
    text = re.search(r"文章: (.+)", prompt).group(1)
    return completion(json.dumps({"question": f"{text[:12]}とは何か。", "answer": text[:4]}, ensure_ascii=False))


def completed(content: object = "はい。", usage: object = None, **choice: object) -> Reply:
    """A chat completion with other values in place of the usual ones."""
    made = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"} | choice
    return Reply(json.dumps({"choices": [made], "usage": usage}).encode())


_USAGE = '{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": %s}}'
ODD = {  # answers with status 200 that are not a chat completion
    "an empty body": Reply(b""),
    "a page": Reply(b"<html>log in</html>", headers={"Content-Type": "text/html"}),
    "an unknown encoding": Reply(b"\xff\xfe", headers={"Content-Type": "application/json; charset=nonsense"}),
    "events": Reply(b'data: {"choices": []}\n\n', headers={"Content-Type": "text/event-stream"}),
    "an error": Reply(b'{"error": {"message": "overloaded"}}'),
    "a cut body": Reply(b'{"choices": [{"message": {"content": "'),
    "not what its header says": Reply(b"{}", headers={"Content-Encoding": "gzip"}),
    "null": Reply(b"null"),
    "a list": Reply(b"[]"),
    "a text": Reply(b'"choices"'),
    "null choices": Reply(b'{"choices": null}'),
    "no choice": Reply(b'{"choices": []}'),
    "choices by name": Reply(b'{"choices": {"0": {}}}'),
    "a choice that is a list": Reply(b'{"choices": [["message"]]}'),
    "a choice that is null": Reply(b'{"choices": [null]}'),
    "a message that is null": completed(message=None),
    "a message that is a list": completed(message=["content"]),
    "content that is a number": completed(3),
    "content that is a list": completed([{"type": "text", "text": "はい。"}]),
    "content that is an empty list": completed([]),
    "usage as an empty list": completed(usage=[]),
    "tokens as an empty text": completed(usage={"prompt_tokens": ""}),
    "a reason that is false": completed(finish_reason=False),
    "a reason that is a list": completed(finish_reason=["stop"]),
    "usage as text": completed(usage="12 tokens"),
    "usage as a list": completed(usage=[10, 5]),
    "tokens as text": completed(usage={"prompt_tokens": "10"}),
    "tokens as a list": completed(usage={"prompt_tokens": [10]}),
    "tokens as a truth value": completed(usage={"completion_tokens": True}),
    "a fraction of a token": completed(usage={"completion_tokens": 0.5}),
    "negative tokens": completed(usage={"completion_tokens": -5}),
    "tokens without end": Reply((_USAGE % "1e999").encode()),
    "tokens that are not a number": Reply((_USAGE % "NaN").encode()),
    "more tokens than there are": Reply((_USAGE % 10**12).encode()),
    "more digits than are read": Reply((_USAGE % ("9" * 5000)).encode()),
    "deep nesting": Reply(b"[" * 200_000),
    "deep nesting of objects": Reply(b'{"choices":' * 100_000),
    "deep nesting in the usage": Reply((_USAGE % ("[" * 100_000 + "]" * 100_000)).encode()),
}


def failure(status: int, message: str = "no", **headers: str) -> Reply:
    """An error as OpenAI words it."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": {"message": message}}).encode(), status, names)


class ChatServer(http.server.ThreadingHTTPServer):
    """Answers with `reply(prompt, times)`: the last message, and how often it was asked before.

    `asked` holds (path, headers, body) of every request in the order in which they came, `at_once` the most that were
    under way at the same time.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply: Callable[[str, int], Reply] = lambda prompt, times: completion("{}")
        self.asked: list[tuple[str, dict, dict]] = []
        self.at_once = self.under_way = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def prompts(self) -> list[str]:
        """The last message of every request."""
        return [body["messages"][-1]["content"] for _, _, body in self.asked]

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        server = self.server
        with server.lock:
            times = server.prompts().count(prompt)
            server.asked.append((self.path, dict(self.headers), body))
            server.under_way += 1
            server.at_once = max(server.at_once, server.under_way)
        reply = server.reply(prompt, times)
        time.sleep(reply.delay)
        with server.lock:
            server.under_way -= 1
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        try:
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) - reply.cut])
            if reply.cut:
                self.close_connection = True
        except OSError:  # whoever asked has gone
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

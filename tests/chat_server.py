"""An OpenAI-compatible server for tests, on a real port: what it answers is a function of what it is asked."""

import http.server
import json
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

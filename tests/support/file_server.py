"""A server of files for tests, on a real port, which may be slow, wrong, or break off."""

import http.server
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Reply:
    """A body; `announced` bytes in place of its own, or in chunks of which the last does not come; `delay` by KiB."""

    body: bytes
    announced: int | None = None
    chunked: bool = False
    delay: float = 0.0
    status: int = 200


Answer = Reply | bytes | int  # a body, or the status of an answer without one


class FileServer(http.server.ThreadingHTTPServer):
    """Answers with `files` by path, where a function gets the number of times that it was asked before.

    `asked` holds the paths that were asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Answer | Callable[[int], Answer]] = {}
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        times = self.server.asked.count(self.path)
        self.server.asked.append(self.path)
        answer = self.server.files.get(self.path, 404)
        answer = answer(times) if callable(answer) else answer
        if isinstance(answer, int):
            answer = Reply(b"", status=answer)
        reply = answer if isinstance(answer, Reply) else Reply(answer)
        self.send_response(reply.status)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(reply.body) if reply.announced is None else reply.announced))
        self.end_headers()
        try:
            if reply.chunked:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(reply.body), reply.body))
                return
            step = 1024 if reply.delay else max(len(reply.body), 1)
            for start in range(0, len(reply.body), step):
                self.wfile.write(reply.body[start : start + step])
                time.sleep(reply.delay)
        except OSError:  # whoever asked has gone
            pass

    def log_message(self, *_: object) -> None:
        pass

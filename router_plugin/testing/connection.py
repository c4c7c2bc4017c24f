"""The server's end of one client connection: HTTP/1.1 requests in, steps out, with every byte under control."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .exchange import Cut, Send, Step
from .request_log import RequestLog, Seen

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request(NamedTuple):
    """One HTTP request, header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Gone(Exception):
    """The other side is no longer there, or the server is stopping."""


Handler = Callable[[Request], tuple[Seen, Iterable[Step]]]


class Connection:
    """Serves the requests of one client one after the other until either side has enough."""

    def __init__(self, sock: socket.socket, handler: Handler, log: RequestLog, stopping: threading.Event) -> None:
        self._sock = sock
        self._handler = handler
        self._log = log
        self._stopping = stopping
        self._buffer = bytearray()

    def serve(self) -> None:
        """Run until the connection ends; never raises."""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._stopping.is_set():
                request = self._read_request()
                reusable = self._answer(*self._handler(request))
                if not reusable or request.headers.get("connection", "").lower() == "close":
                    break
        except (Gone, OSError, ValueError):
            pass
        finally:
            self._sock.close()

    def interrupt(self) -> None:
        """Make every wait, read and write of this connection end now. For other threads."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    # ----------------------------------------------------------------- reading

    def _read_request(self) -> Request:
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers: dict[str, str] = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self._sock.sendall(_CONTINUE)
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return Request(method, path, headers, self._chunked())
        return Request(method, path, headers, self._exactly(int(headers.get("content-length", "0"))))

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            body += self._exactly(size + 2)[:-2]
        while self._until(b"\r\n"):
            pass
        return body

    def _until(self, mark: bytes) -> bytes:
        searched = 0
        while (at := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            self._fill()
        data = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return data

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise Gone
        self._buffer += data

    # ----------------------------------------------------------------- answering

    def _answer(self, seen: Seen, steps: Iterable[Step]) -> bool:
        """Carry out the steps; whether the connection may be used again."""
        try:
            return self._run(seen, steps)
        except (Gone, OSError):
            seen.aborted = not self._stopping.is_set()
            return False
        finally:
            self._log.finish(seen)

    def _run(self, seen: Seen, steps: Iterable[Step]) -> bool:
        pending = bytearray()
        sent = 0
        for step in steps:
            if isinstance(step, Send):
                pending += step.data
                sent += step.chunk
                seen.status = step.status or seen.status
                continue
            if isinstance(step, Cut):
                seen.chunks_sent += sent
                self._flush(pending)
                self._log.finish(seen)
                self._cut(step)
                return False
            if step.seconds == 0:
                continue
            seen.chunks_sent += sent
            sent = 0
            if pending:
                self._flush(pending)
                self._log.progressed()
            self._wait(step.seconds)
        seen.chunks_sent += sent
        self._log.finish(seen)
        self._flush(pending)
        return True

    def _flush(self, pending: bytearray) -> None:
        if pending:
            self._sock.sendall(pending)
            pending.clear()

    def _cut(self, step: Cut) -> None:
        if step.how == "rst":
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._sock.close()

    def _wait(self, seconds: float | None) -> None:
        """Watch the client while waiting: the only thing it can usefully do meanwhile is to go away."""
        self._sock.settimeout(seconds)
        try:
            early = self._sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            self._sock.settimeout(None)
            return
        self._sock.settimeout(None)
        if not early or self._stopping.wait(seconds):
            raise Gone

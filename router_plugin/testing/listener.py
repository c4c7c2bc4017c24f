"""A listening socket with a thread per connection, that can be stopped at any moment and leaves nothing behind."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time

from .connection import Connection, Handler
from .request_log import RequestLog

HOST = "127.0.0.1"
_BACKLOG = 1024
_JOIN_S = 5.0


class Listener:
    """Listens from construction to :meth:`stop`. ``port`` 0 takes a free one; OSError if the given one is taken."""

    def __init__(self, handler: Handler, log: RequestLog, port: int) -> None:
        self._handler = handler
        self._log = log
        self._stopping = threading.Event()
        self._open: dict[threading.Thread, Connection] = {}
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if os.name == "posix":  # elsewhere the option lets two servers share a port
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((HOST, port))
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept_loop, name=f"loopback-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse new connections, end the open ones, and wait for their threads.

        At once, unless a reply function of the test's own is still busy: that is given some seconds, then left alone.
        """
        self._stopping.set()
        self._wake.send(b".")
        self._thread.join(_JOIN_S)
        for sock in (self._socket, self._wake, self._woken):  # not by the thread: it may end before it is woken
            sock.close()
        with self._lock:
            connections = dict(self._open)
        for connection in connections.values():
            connection.interrupt()
        deadline = time.monotonic() + _JOIN_S
        for thread in connections:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _accept_loop(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                if not self._stopping.is_set():
                    self._accept()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except BlockingIOError:
            return
        except OSError:  # out of descriptors, or the client has left again
            self._stopping.wait(0.01)
            return
        sock.setblocking(True)
        connection = Connection(sock, self._handler, self._log, self._stopping)
        thread = threading.Thread(target=self._serve, args=(connection,), name=f"loopback-{self.port}-c", daemon=True)
        with self._lock:
            self._open[thread] = connection
        thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._open[threading.current_thread()]

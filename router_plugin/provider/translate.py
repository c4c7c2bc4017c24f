"""From a provider's exception to failure facts: the one table.

Classes are told by name, since this table also reads the exceptions of other clients (the OpenAI SDK's have the same
names) and must not import litellm. litellm maps Anthropic's 529 and refused connections to a 500: the message and the
cause tell them apart.
"""

from __future__ import annotations

import re
from typing import Any

from ..records import Failed, RateWindow
from .retry_after import wait_wanted

# Most specific first: litellm's subclasses of BadRequestError stand before it.
_BY_NAME = (
    ("Timeout", "timeout"),
    ("APITimeoutError", "timeout"),
    ("TimeoutError", "timeout"),
    ("RateLimitError", "rate_limit"),
    ("ContextWindowExceededError", "context_window"),
    ("ContentPolicyViolationError", "content_policy"),
    ("UnsupportedParamsError", "unsupported"),
    ("AuthenticationError", "credential"),
    ("PermissionDeniedError", "credential"),
    ("NotFoundError", "not_found"),
    ("BudgetExceededError", "quota"),
    ("JSONSchemaValidationError", "bad_answer"),
    ("APIResponseValidationError", "bad_answer"),
    ("ServiceUnavailableError", "overloaded"),
    ("BadGatewayError", "server"),
    ("InternalServerError", "server"),
    ("UnprocessableEntityError", "bad_request"),
    ("ImageFetchError", "bad_request"),
    ("RejectedRequestError", "bad_request"),
    ("InvalidRequestError", "bad_request"),
    ("BadRequestError", "bad_request"),
    ("APIConnectionError", "connection"),
    ("ConnectionError", "connection"),
    ("ConnectError", "connection"),
    ("TransportError", "connection"),
)
_BY_STATUS = {
    400: "bad_request",
    401: "credential",
    402: "quota",
    403: "credential",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "context_window",
    422: "bad_request",
    429: "rate_limit",
    503: "overloaded",
    529: "overloaded",
}
# These say more than the class that litellm maps them to.
_TELLING = (401, 402, 403, 404, 408, 409, 429, 503, 529)
_NOT_SENT = (
    "ConnectError",
    "ConnectTimeout",
    "ConnectionRefusedError",
    "PoolTimeout",
    "gaierror",
    "ClientConnectorError",
)
_UNSENDABLE = (
    "TypeError",
    "ValueError",
    "ValidationError",
    "UnicodeEncodeError",
    "LocalProtocolError",
    "RecursionError",
    "AttributeError",
    "KeyError",
)
_RESETS = ("ConnectionResetError", "ServerDisconnectedError", "ClientOSError", "ReadError", "RemoteProtocolError")
_CONNECTION_WORDS = ("connection error", "connection refused", "connection reset", "server disconnected", "peer closed")
_WINDOW_WORDS = ("context_length_exceeded", "maximum context length", "prompt is too long", "context window")
_POLICY_WORDS = ("content_policy_violation", "content management policy", "content filtering policy", "content_filter")
_UNSUPPORTED_WORDS = ("unsupported parameter", "unsupported value", "does not support", "not supported")
_QUOTA_WORDS = ("insufficient_quota", "billing", "credit balance", "exceeded your current quota")


def failed(
    error: BaseException,
    wall: float,
    timed_out: bool = False,
    http_status: int | None = None,
    wire: Any = None,
    limits: tuple[RateWindow, ...] = (),
) -> Failed:
    """The facts of a failure.

    ``timed_out``: our own timer cut the attempt, whatever the error looks like; ``http_status``: what the provider
    really answered, where it was seen (litellm turns a 529 into a 500, and a 200 with an error inside into a 422);
    ``wire``: the headers it answered with, and ``limits`` what they said of rate limits.
    """
    error = _unwrapped(error)
    status = http_status if http_status is not None and http_status >= 400 else _status(error)
    message = str(error)[:4000]
    chain = _causes(error)
    kind = "timeout" if timed_out else _kind(error, status, message.lower(), chain)
    if http_status is not None and http_status < 400 and kind in ("bad_request", "unknown"):
        kind = "bad_answer"  # the answer came and could not be read
    wait = None
    if kind in ("rate_limit", "overloaded", "quota"):
        wait = wait_wanted(wire or _headers(error), message, wall)
    unsent = _unsent(chain, message.lower())
    billed = kind in ("timeout", "connection", "bad_answer") and not unsent and status not in (401, 403, 404, 429)
    return Failed(error, kind, billed, wait, status, limits=limits)


def _unsent(chain: list[str], message: str) -> bool:
    """Whether the request never reached the provider. A reset did reach it, whatever an async client calls it."""
    if any(name in _RESETS for name in chain) or "reset by peer" in message:
        return False
    return any(name in _NOT_SENT for name in chain) or "connection refused" in message


_NO_CREDENTIALS = ("DefaultCredentialsError", "NoCredentialsError", "PartialCredentialsError", "RefreshError")
_CREDENTIAL_WORDS = re.compile(
    r"(?i)(?:missing|no|set|provide|pass|need|require|invalid|could not|unable to|not found).{0,80}?"
    r"(?:api[_ -]?key|credentials?|access[_ -]?token|auth[a-z]*[_ -]token)"
    r"|(?:api[_ -]?key|credentials?|access[_ -]?token).{0,80}?"
    r"(?:missing|not (?:set|found|provided)|must be set|is required|was not|were not|could not|none)"
)


def lacks_credentials(error: BaseException) -> bool:
    """Whether a request was not made for want of a key: clients say so in many words and under many classes."""
    if any(name in _NO_CREDENTIALS for name in _causes(error)):
        return True
    return _CREDENTIAL_WORDS.search(str(error)[:2_000]) is not None


def is_unsendable(error: BaseException) -> bool:
    """Whether a request could not even be written down: a lone surrogate, an object in a tool, a bad header."""
    return any(name in _UNSENDABLE for name in _causes(error))


def is_unwritable(error: BaseException) -> bool:
    """Whether HTTP itself could not carry the request (a header with a newline): found only while sending."""
    current: BaseException | None = error
    for _ in range(12):
        if current is None:
            break
        if type(current).__name__ == "LocalProtocolError":
            return True
        if type(current) in (ValueError, TypeError) and "header" in str(current).lower():
            return True
        current = current.__cause__ or current.__context__
    return False


def _unwrapped(error: BaseException) -> BaseException:
    """litellm wraps what breaks a stream; the provider's own exception is inside."""
    for _ in range(3):
        inner = getattr(error, "original_exception", None)
        if type(error).__name__ != "MidStreamFallbackError" or not isinstance(inner, BaseException):
            break
        error = inner
    return error


def _kind(error: BaseException, status: int | None, message: str, chain: list[str]) -> str:
    names = {base.__name__ for base in type(error).__mro__}
    kind = next((kind for name, kind in _BY_NAME if name in names), None)
    if status in _TELLING and kind not in ("content_policy", "context_window"):
        kind = _BY_STATUS[status]
    if kind != "timeout" and any(name in ("ReadTimeout", "WriteTimeout", "ConnectTimeout") for name in chain):
        return "timeout"
    if kind == "rate_limit" and any(word in message for word in _QUOTA_WORDS):
        return "quota"
    if kind == "server" and ("overloaded" in message or status == 529):
        return "overloaded"
    if "DecodingError" in chain:
        return "bad_answer"
    if "before a finish_reason was received" in message:
        return "bad_answer"  # what litellm says of an end without one, since 1.110
    if kind in ("server", "connection"):
        if any(name in ("JSONDecodeError", "ValidationError") for name in chain) or "unable to get json" in message:
            return "bad_answer"
        refused = any(name in _NOT_SENT for name in chain) or any(word in message for word in _CONNECTION_WORDS)
        return "connection" if refused else kind
    if kind == "bad_request":
        if any(word in message for word in _WINDOW_WORDS):
            return "context_window"
        if any(word in message for word in _POLICY_WORDS):
            return "content_policy"
        if any(word in message for word in _UNSUPPORTED_WORDS):
            return "unsupported"
        return kind
    if kind is None and status is not None:
        kind = _BY_STATUS.get(status) or ("server" if status >= 500 else "bad_answer" if status < 300 else None)
    return kind or "unknown"


def _status(error: BaseException) -> int | None:
    for value in (getattr(error, "status_code", None), getattr(getattr(error, "response", None), "status_code", None)):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.isdigit():
            return int(value)
    return None


def _headers(error: BaseException) -> Any:
    for source in (error, getattr(error, "original_exception", None)):
        headers = getattr(source, "litellm_response_headers", None)
        if headers:
            return headers
    return getattr(getattr(error, "response", None), "headers", None)


def _causes(error: BaseException) -> list[str]:
    """Names of the exception classes behind an error, itself first."""
    names: list[str] = []
    current: BaseException | None = error
    while current is not None and len(names) < 12:
        names.append(type(current).__name__)
        current = current.__cause__ or current.__context__
    return names

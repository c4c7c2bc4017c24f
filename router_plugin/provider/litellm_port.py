"""litellm behind the port: one attempt is one call of ``litellm.completion`` or ``acompletion``.

litellm's and the SDKs' own retries are switched off (``max_retries=0``); usage of streams is asked for and hidden
again; nothing is ever routed twice (``INSIDE``).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Any

from ..records import Answered, Attempt, Failed, Request, whole_number
from . import catalog, forked
from .guard import INSIDE, AsyncGuard, Guard
from .streams import LitellmStreams, Peeked, apeek, peek, so_far
from .tap import TAP
from .translate import failed, is_unsendable, is_unwritable, lacks_credentials
from .usage import bill, read_usage

# litellm's own default; only attempts that may take longer have to say so. Values above it are rounded up to minutes,
# because litellm makes and keeps a new HTTP client for every time-out it has not met.
_LITELLM_TIMEOUT_S = 590.0
_SKIP_MCP = "_skip_mcp_handler"


class Public:
    """litellm's completion functions as they were before ``install`` gave them new code; None while nothing is."""

    completion: Any = None
    acompletion: Any = None


PUBLIC = Public()


class LitellmProvider:
    """The real thing. Stateless: one instance serves all routers."""

    streams = LitellmStreams()
    clients = forked.CLIENTS

    facts = staticmethod(catalog.facts_of)
    stamp = staticmethod(catalog.stamp)

    def count_tokens(self, model: str, request: Request) -> int:
        """Exact tokens by litellm's tokeniser for the model (o200k where it has none of the model's own)."""
        import litellm

        name = model if model.startswith(("openai/", "gpt", "o1", "o3", "o4")) else "gpt-4o"
        messages = [m if isinstance(m, dict) else m.model_dump() for m in request.messages]
        try:
            counted = litellm.token_counter(
                model=name, messages=messages, tools=list(request.tools) if request.tools else None
            )
        except Exception:  # litellm counts what it knows; what it does not know keeps its cheap bound
            return request.upper
        return int(counted)

    def call(self, attempt: Attempt) -> Answered | Failed:
        import litellm

        started = time.monotonic()
        guard = Guard(started + attempt.until_first_s)
        attempt.cancel = guard.fire
        guard.attempt, attempt.sent = attempt, attempt.candidate.provider in litellm._custom_providers
        TAP.hold()
        token = INSIDE.set(guard)
        guard.arm()
        answered = False
        try:
            kwargs, guard.price = request_kwargs(attempt)
            response = (PUBLIC.completion or litellm.completion)(**kwargs)
            if not attempt.stream or not hasattr(response, "received_finish_reason"):
                return _checked(response, attempt, guard)
            peeked = peek(response, attempt, guard, started)
            answered = isinstance(peeked, Peeked)
            return _streaming(peeked, guard) if isinstance(peeked, Peeked) else peeked
        except Exception as error:
            return _failed(error, attempt, guard)
        finally:
            INSIDE.reset(token)
            guard.active = False
            if not answered:
                guard.ended()
            TAP.release()

    async def acall(self, attempt: Attempt) -> Answered | Failed:
        import litellm

        loop = asyncio.get_running_loop()
        started = loop.time()
        guard = AsyncGuard(started + attempt.until_first_s, loop)
        guard.task = asyncio.current_task()
        guard.attempt, attempt.sent = attempt, attempt.candidate.provider in litellm._custom_providers
        TAP.hold()
        token = INSIDE.set(guard)
        guard.arm()
        answered = False
        try:
            kwargs, guard.price = request_kwargs(attempt)
            response = await (PUBLIC.acompletion or litellm.acompletion)(**kwargs)
            if not attempt.stream or not hasattr(response, "received_finish_reason"):
                return _checked(response, attempt, guard)
            peeked = await apeek(response, attempt, guard, started)
            answered = isinstance(peeked, Peeked)
            return _streaming(peeked, guard) if isinstance(peeked, Peeked) else peeked
        except asyncio.CancelledError as error:
            if guard.ours():
                return _failed(error, attempt, guard)
            raise
        except Exception as error:
            return _failed(error, attempt, guard)
        finally:
            INSIDE.reset(token)
            guard.active = False
            if not answered:
                guard.ended()
            TAP.release()

    bill = staticmethod(bill)


# litellm.num_retries, set for a whole process, outranks num_retries=0 of a call, but not a policy of no retries.
_NO_RETRIES = {"DefaultRetries": 0}


def request_kwargs(attempt: Attempt) -> tuple[dict[str, Any], str | None]:
    """litellm's keyword arguments for one attempt (the caller's, the deployment's endpoint, and our few), and the key
    of the price that was put into litellm's map for it."""
    kwargs, deployment = dict(attempt.kwargs), attempt.candidate.deployment
    if "litellm_logging_obj" in kwargs:  # from inside litellm: an attempt keeps books of its own, and the `None`s
        kwargs = {key: value for key, value in kwargs.items() if value is not None}  # it spells out are unset ones
        kwargs.pop("litellm_logging_obj", None)
        kwargs.pop("litellm_call_id", None)
    kwargs["model"] = deployment.model
    kwargs["max_retries"] = 0
    if deployment.params:
        kwargs.update(deployment.params)
    elsewhere = False
    if "api_base" in kwargs or "base_url" in kwargs:  # the router allows calls to say where
        elsewhere = deployment.api_base is None and bool(kwargs.get("api_base") or kwargs.get("base_url"))
        if not elsewhere:
            kwargs.pop("base_url", None)  # which litellm would prefer
    if deployment.api_base is not None:
        kwargs["api_base"] = deployment.api_base
    if deployment.api_key is not None and not elsewhere:  # a key goes to no address but its own
        key = deployment.api_key.get_secret_value()
        kwargs["api_key"] = key if key[:11] != "os.environ/" else _from_environment(key, deployment.name)
    if deployment.api_version is not None:
        kwargs["api_version"] = deployment.api_version
    if deployment.organization is not None:
        kwargs["organization"] = deployment.organization
    if deployment.extra_headers:
        kwargs["extra_headers"] = {**(kwargs.get("extra_headers") or {}), **deployment.extra_headers}
    for name in _COUNTS:
        if name in kwargs and kwargs[name].__class__ is not int:  # 100.0, "100": sent as it was counted
            kwargs[name] = whole_number(name, kwargs[name])
    if attempt.cap is not None:
        kwargs["max_completion_tokens" if "max_completion_tokens" in kwargs else "max_tokens"] = attempt.cap
    elif "max_tokens" in kwargs and "max_completion_tokens" in kwargs:
        _one_cap(kwargs)
    if attempt.timeout_s > _LITELLM_TIMEOUT_S:
        kwargs["timeout"] = 60.0 * (attempt.timeout_s // 60 + 2)
    if attempt.stream:
        kwargs["stream_options"] = {**(kwargs.get("stream_options") or {}), "include_usage": True}
    import litellm

    if attempt.fresh and litellm.cache is not None:
        kwargs["cache"] = {**(kwargs.get("cache") or {}), "no-cache": True, "no-store": True}
    if litellm.num_retries:
        kwargs["retry_policy"] = _NO_RETRIES
    tools = kwargs["tools"] if "tools" in kwargs else None
    if tools and not any(isinstance(tool, dict) and tool.get("type") == "mcp" for tool in tools):
        kwargs[_SKIP_MCP] = True  # without it any tool makes litellm import the `mcp` package
    if attempt.candidate.own_price and attempt.candidate.priced:
        return kwargs, catalog.price_in_callbacks(kwargs, attempt.candidate)
    return kwargs, None


_COUNTS = ("max_tokens", "max_completion_tokens", "n", "best_of")


def _one_cap(kwargs: dict[str, Any]) -> None:
    """Two spellings of the output cap: the lower one counts, whichever of them the provider obeys."""
    caps = (kwargs["max_tokens"], kwargs["max_completion_tokens"])
    if None not in caps:
        kwargs["max_tokens"] = kwargs["max_completion_tokens"] = min(caps)


def _from_environment(value: str, deployment: str) -> str:
    import os

    name = value.removeprefix("os.environ/")
    found = os.environ.get(name)
    if not found:
        import litellm

        raise litellm.AuthenticationError(
            message=f"deployment {deployment!r} reads its api_key from the environment: {name} is not set",
            llm_provider="router_plugin",
            model=deployment,
        )
    return found


def _checked(response: Any, attempt: Attempt, guard: Guard) -> Answered | Failed:
    """A whole answer, or the failure it really is: a 200 without choices is none."""
    try:
        empty = response.choices == []
    except AttributeError:  # not litellm's: a custom provider's own object
        empty = False
    if empty:
        return _failed(_bad_answer("the answer has no choices", attempt), attempt, guard, "bad_answer", response)
    return Answered(response, None, False, guard.limits)


def _streaming(peeked: Peeked, guard: Guard) -> Answered:
    def discard() -> None:
        guard.ended()
        guard.drop()

    return Answered(
        peeked, peeked.ttft_s, True, guard.limits, partial(LitellmProvider.streams.whole, peeked.source), discard
    )


def _bad_answer(what: str, attempt: Attempt) -> Exception:
    import litellm

    deployment = attempt.candidate.deployment
    return litellm.APIError(  # type: ignore[no-any-return]
        status_code=502, message=what, llm_provider=attempt.candidate.provider, model=deployment.model
    )


def _failed(
    error: BaseException, attempt: Attempt, guard: Guard, kind: str | None = None, response: Any = None
) -> Failed:
    if guard.fired:
        import litellm

        cut = litellm.Timeout(
            message=f"no answer within {attempt.until_first_s:.3g} s (deployment {attempt.candidate.name!r})",
            model=attempt.candidate.deployment.model,
            llm_provider=attempt.candidate.provider,
        )
        cut.__cause__ = error if isinstance(error, Exception) else None
        error = cut
    wire = guard.response.headers if guard.response is not None else None
    facts = failed(error, time.time(), guard.fired, guard.status, wire, guard.limits)
    if guard.chunks:  # a stream that was held back (``buffer``): what had come is billed
        text, usage = so_far(guard.chunks)
        return replace(facts, billed=True, partial_text=text, usage=usage)
    if not attempt.sent and lacks_credentials(error):
        return Failed(error, "credential", False, None, facts.status)
    if (
        (not attempt.sent or is_unwritable(error))
        and facts.kind in ("server", "connection", "unknown", "bad_answer")
        and is_unsendable(error)
    ):
        return Failed(error, "bad_request", False, None, facts.status)  # nobody was asked: it is the caller's
    if kind is None and (guard.fired or guard.status is None or guard.status >= 400 or guard.error or attempt.stream):
        return facts
    if kind is None and facts.kind in ("content_policy", "context_window", "rate_limit"):
        return facts  # an error inside a 200, which litellm could read
    # The whole answer came, and it is none.
    return Failed(error, "bad_answer", True, None, facts.status, usage=read_usage(response))

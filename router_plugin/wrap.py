"""``@router.wrap``: the attempt loop around any function of ``(model, messages, **kwargs)`` shape."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .call.drivers import arun, run
from .call.plan import plan
from .call.streams import hand_over
from .errors import SpecError
from .provider.functions import FunctionProvider
from .redact import shown
from .router import failed
from .spec.options import Routing
from .surface import named_arguments

if TYPE_CHECKING:
    from .router import Router


def wrapped(router: Router, function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """``function`` routed by ``router``; ``options`` are defaults of each call (the keywords of ``Routing``, and
    ``timeout``). The result is ``async def`` where ``function`` is."""
    if not callable(function):
        raise SpecError(f"wrap: expected a function of (model, messages, **kwargs), not {shown(function)}")
    if "timeout" in options:
        options = {**options, "timeout_s": options["timeout"]}
        del options["timeout"]
    defaults, provider = Routing(**options), FunctionProvider(function)

    if inspect.isasyncgenfunction(function):
        return _generator(router, function, options)

    if _is_async(function):

        @functools.wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            call = router.prepare(*_named(args, kwargs), defaults)
            call.provider = provider
            try:
                return hand_over(await arun(plan(call), provider, router.clock), provider)
            except BaseException as error:
                failed(call, error)
                raise

        return asynchronous

    @functools.wraps(function)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        call = router.prepare(*_named(args, kwargs), defaults)
        call.provider = provider
        try:
            return hand_over(run(plan(call), provider, router.clock), provider)
        except BaseException as error:
            failed(call, error)
            raise

    return synchronous


def _is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine, also through decorators that kept what they wrap (the OpenAI SDK's)."""
    inner = inspect.unwrap(getattr(function, "__func__", function))
    called = getattr(type(function), "__call__", None)  # noqa: B004  # of an object that is called like a function
    return any(inspect.iscoroutinefunction(one) for one in (function, inner, called))


def _generator(router: Router, function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """An async generator function stays one: each call of it is a stream."""

    async def opened(**kwargs: Any) -> Any:
        return function(**kwargs)

    call = wrapped(router, opened, options)

    @functools.wraps(function)
    async def generator(*args: Any, **kwargs: Any) -> Any:
        stream = await call(*args, **kwargs)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()

    return generator


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(model, the other arguments by name)."""
    named = named_arguments(args, kwargs)
    return named.pop("model", None), named

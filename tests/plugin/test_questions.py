"""litellm's questions about a model, asked about a router: what its models can do. About a model: as ever."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import litellm
import litellm.utils
import pytest
from plugin_modes import MESSAGES, deployment

from router_plugin import Deployment, Router, install
from router_plugin.testing.loopback import LoopbackProvider

NAMES = ["router", "router/support", "router@q:1|c:1", "router_support@q:1", "router/support->openai/gpt-3.5-turbo"]
names = pytest.mark.parametrize("name", NAMES)
_TWO = ["model", "custom_llm_provider"]
MODELS = ["openai/gpt-3.5-turbo", "anthropic/claude-haiku-4-5", "openai/gpt-4o-mini"]
# Read from litellm.utils, where they live: litellm itself lists only those that somebody has used.
SUPPORTS = sorted(
    name
    for name in dir(litellm.utils)
    if name.startswith("supports_") and list(inspect.signature(getattr(litellm.utils, name)).parameters) == _TWO
)
PUBLIC = [name for name in SUPPORTS if hasattr(litellm, name)]
CONCRETE = ["gpt-4o", "openai/gpt-3.5-turbo", "anthropic/claude-haiku-4-5", "openai/unheard-of"]


@pytest.fixture(autouse=True)
def _as_in_a_fresh_process() -> None:
    """litellm loads its questions when they are first used: none has been used before the install."""
    for name in SUPPORTS:
        vars(litellm).pop(name, None)


@pytest.fixture
def support() -> Iterator[Router]:
    with install(Router("support", models=MODELS)) as installation:
        yield installation.routers[0]


def ask(function: Any, *args: Any, **kwargs: Any) -> Any:
    """The answer, or the kind and words of the exception: either must stay what it was."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)


# --------------------------------------------------------------------------- supports_…


def test_litellm_has_the_questions_this_file_is_about() -> None:
    assert {"supports_function_calling", "supports_vision", "supports_response_schema"} <= set(PUBLIC)
    assert {"supports_tool_choice", "supports_pdf_input", "supports_prompt_caching"} <= set(SUPPORTS)
    assert len(PUBLIC) > 10


@pytest.mark.parametrize("question", SUPPORTS)
def test_a_router_supports_what_one_of_its_models_supports(support: Router, question: str) -> None:
    function = getattr(litellm.utils, question)
    want = any(function(model, None) for model in MODELS)
    assert {name: function(name, None) for name in NAMES} == dict.fromkeys(NAMES, want)
    assert {name: function(model=name, custom_llm_provider=None) for name in NAMES} == dict.fromkeys(NAMES, want)


@pytest.mark.parametrize("question", PUBLIC)
def test_litellms_own_spelling_of_a_question_is_the_same(support: Router, question: str) -> None:
    """litellm.supports_…, looked up after the install."""
    if getattr(litellm, question, None) is None:
        pytest.skip("this litellm has it in its utils only")
    assert getattr(litellm, question) is getattr(litellm.utils, question)
    want = any(getattr(litellm, question)(model, None) for model in MODELS)
    assert getattr(litellm, question)("router/support", None) is want


@pytest.mark.parametrize("question", SUPPORTS)
def test_a_name_taken_apart_by_litellm_is_the_same_name(support: Router, question: str) -> None:
    """litellm and frameworks split "router/support" into a model and a provider first."""
    function = getattr(litellm.utils, question)
    want = function("router/support", None)
    assert function("support", "router") is want
    assert function(model="support", custom_llm_provider="router") is want


@pytest.mark.parametrize("question", SUPPORTS)
def test_a_concrete_model_supports_what_it_did_before(question: str) -> None:
    function = getattr(litellm.utils, question)
    before = {model: ask(function, model, None) for model in CONCRETE}
    with install(Router("support", models=MODELS)):
        assert {model: ask(function, model, None) for model in CONCRETE} == before
        assert {model: ask(function, model=model, custom_llm_provider=None) for model in CONCRETE} == before


def test_what_a_deployment_declares_counts(p: LoopbackProvider) -> None:
    able = deployment(p, "small", supports={"vision": True, "tools": True, "json_schema": True, "audio_input": True})
    unable = Deployment("openai/gpt-4o", supports={"vision": False, "tools": False})
    with install(Router("able", models=[able]), Router("unable", models=[unable])):
        for question in ("vision", "function_calling", "response_schema", "audio_input"):
            assert getattr(litellm, f"supports_{question}")("router/able") is True
        assert litellm.supports_vision("router/unable") is False
        assert litellm.supports_function_calling("router/unable") is False
        assert litellm.supports_response_schema("router/unable") is True
        info = litellm.get_model_info("router/able")
        assert info["supports_vision"] is info["supports_function_calling"] is True
        assert litellm.get_model_info("router/unable")["supports_vision"] is False


def test_nothing_a_model_lacks_is_promised() -> None:
    with install(Router("plain", models=["openai/gpt-3.5-turbo-instruct"])):
        assert litellm.supports_vision("router/plain") is False
        assert litellm.supports_audio_input("router/plain") is False


# --------------------------------------------------------------------------- get_model_info


@names
def test_model_info_of_a_router_is_that_of_its_models_together(support: Router, name: str) -> None:
    info = litellm.get_model_info(name)
    each = [litellm.get_model_info(model) for model in MODELS]
    assert (info["key"], info["litellm_provider"], info["mode"]) == (name, "router", "chat")
    for limit in ("max_input_tokens", "max_output_tokens"):
        assert info[limit] == max(one[limit] for one in each)
    for price in ("input_cost_per_token", "output_cost_per_token"):
        assert info[price] == pytest.approx(min(one[price] for one in each))
    for key in each[0]:
        assert key in info
        if key.startswith("supports_"):
            assert bool(info[key]) == any(one.get(key) for one in each), key
    assert litellm.get_model_info(model=name) == info


def test_model_info_of_a_name_taken_apart(support: Router) -> None:
    info = litellm.get_model_info(model="support", custom_llm_provider="router")
    assert info["max_input_tokens"] == litellm.get_model_info("router/support")["max_input_tokens"]


def test_model_info_knows_declared_prices_and_limits(p: LoopbackProvider) -> None:
    own = deployment(p, "small", max_input_tokens=9_000, max_output_tokens=700)
    with install(Router("support", models=[own])):
        info = litellm.get_model_info("router/support")
    assert (info["max_input_tokens"], info["max_output_tokens"], info["max_tokens"]) == (9_000, 700, 700)
    assert (info["input_cost_per_token"], info["output_cost_per_token"]) == pytest.approx((1e-7, 2e-7))


def test_the_info_handed_out_may_be_edited(support: Router) -> None:
    litellm.get_model_info("router")["max_input_tokens"] = 1
    assert litellm.get_model_info("router")["max_input_tokens"] != 1


@pytest.mark.parametrize("model", CONCRETE)
def test_model_info_of_a_concrete_model_is_unchanged(model: str) -> None:
    before = ask(litellm.get_model_info, model)
    with install(Router("support", models=MODELS)):
        assert ask(litellm.get_model_info, model) == before
        assert ask(litellm.get_model_info, model=model, custom_llm_provider=None) == before


def test_the_largest_output_is_known_under_litellms_other_question(support: Router) -> None:
    """litellm.get_max_tokens is built on the same map."""
    assert litellm.get_max_tokens("gpt-4o-mini") == litellm.get_model_info("gpt-4o-mini")["max_output_tokens"]


# --------------------------------------------------------------------------- parameters, keys, tokens


@names
def test_parameters_are_those_that_one_of_the_models_takes(support: Router, name: str) -> None:
    want = {param for model in MODELS for param in litellm.get_supported_openai_params(model) or ()}
    for given in (
        litellm.get_supported_openai_params(name),
        litellm.get_supported_openai_params(model=name),
        litellm.get_supported_openai_params(model=name, custom_llm_provider=None),
        litellm.get_supported_openai_params(model=name, custom_llm_provider=None, request_type="chat_completion"),
    ):
        assert set(given or ()) == want
        assert len(given or ()) == len(want)
    assert {"tools", "response_format", "thinking", "logit_bias"} <= want


def test_parameters_of_a_name_taken_apart(support: Router) -> None:
    want = set(litellm.get_supported_openai_params("router/support") or ())
    assert set(litellm.get_supported_openai_params("support", "router") or ()) == want
    assert set(litellm.get_supported_openai_params("support", custom_llm_provider="router") or ()) == want


@pytest.mark.parametrize("model", CONCRETE)
def test_parameters_of_a_concrete_model_are_unchanged(model: str) -> None:
    before = ask(litellm.get_supported_openai_params, model)
    with install(Router("support", models=MODELS)):
        assert ask(litellm.get_supported_openai_params, model) == before


@names
def test_a_router_is_ready_when_one_deployment_has_its_key(
    support: Router, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = litellm.validate_environment(name)
    assert missing["keys_in_environment"] is False
    assert set(missing["missing_keys"]) == {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"}
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert litellm.validate_environment(name) == {"keys_in_environment": True, "missing_keys": []}
    assert litellm.validate_environment(model=name)["keys_in_environment"] is True


def test_keys_of_deployments_count_as_keys(p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Deployment("openai/gpt-4o", api_key="os.environ/EU_KEY")
    with install(Router("given", models=[deployment(p, "small")]), Router("read", models=[read])):
        assert litellm.validate_environment("router/given")["keys_in_environment"] is True
        assert litellm.validate_environment("router/read")["keys_in_environment"] is False
        monkeypatch.setenv("EU_KEY", "k")
        assert litellm.validate_environment("router/read")["keys_in_environment"] is True


@pytest.mark.parametrize("model", CONCRETE)
def test_the_environment_of_a_concrete_model_is_judged_as_before(model: str) -> None:
    before = ask(litellm.validate_environment, model)
    with install(Router("support", models=MODELS)):
        assert ask(litellm.validate_environment, model) == before


@names
def test_tokens_are_counted_for_a_router(support: Router, name: str) -> None:
    """At least as many as any of its tokenisers finds."""
    text = "Wie viele Monde hat der Mars? 火星有几颗卫星?"
    at_least = max(litellm.token_counter(model, text=text) for model in ("openai/gpt-3.5-turbo", "openai/gpt-4o-mini"))
    assert litellm.token_counter(name, text=text) >= at_least
    assert litellm.token_counter(model=name, text=text) >= at_least
    assert litellm.token_counter(model=name, messages=MESSAGES) >= litellm.token_counter("gpt-4o", messages=MESSAGES)


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-3.5-turbo", "openai/unheard-of", ""])
def test_tokens_of_a_concrete_model_are_counted_as_before(model: str) -> None:
    before = ask(litellm.token_counter, model, text="How many moons?")
    with install(Router("support", models=MODELS)):
        assert ask(litellm.token_counter, model, text="How many moons?") == before


# --------------------------------------------------------------------------- names of nobody


@pytest.mark.parametrize(
    "question", ["get_model_info", "get_supported_openai_params", "supports_vision", "validate_environment"]
)
@pytest.mark.parametrize("name", ["router/nobody", "router@q:nan", "router/", "router->"])
def test_questions_about_a_router_nobody_installed_are_answered_as_for_any_unknown_model(
    question: str, name: str
) -> None:
    """And not by another router."""
    before = ask(getattr(litellm, question), name)
    with install(Router("support", models=MODELS)):
        answer = ask(getattr(litellm, question), name)
    if isinstance(before, tuple):
        assert answer is None or isinstance(answer, tuple)
    else:
        assert answer == before


def test_the_default_router_is_the_one_that_is_asked_about(p: LoopbackProvider) -> None:
    one = Router("one", models=[deployment(p, "small", max_input_tokens=1_000)])
    two = Router("two", models=[deployment(p, "small", max_input_tokens=2_000)])
    with install(one, two):
        assert litellm.get_model_info("router")["max_input_tokens"] == 1_000
        assert litellm.get_model_info("router/two")["max_input_tokens"] == 2_000
        assert litellm.get_model_info("router_two@q:1")["max_input_tokens"] == 2_000


def test_questions_about_no_name_at_all_are_litellms(support: Router) -> None:
    for question in ("get_model_info", "supports_vision", "get_supported_openai_params"):
        function = getattr(litellm, question)
        for model in (None, 7, ["router"]):
            answer = ask(function, model)
            assert answer in (False, None) or isinstance(answer, tuple)

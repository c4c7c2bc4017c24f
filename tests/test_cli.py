"""The command ``router-plugin``: what it says, to people and to programs, and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import router_plugin
from router_plugin import Client, Router
from router_plugin.cli.app import app
from router_plugin.cli.screen import Screen
from router_plugin.testing import FakeClock, Reply, ScriptedProvider

SETTINGS: dict[str, Any] = {
    "models": ["openai/gpt-4o-mini", {"model": "openai/gpt-4o", "quality": 0.9, "api_key": "os.environ/SOME_KEY"}],
    "rules": [
        {
            "name": "premium",
            "priority": 10,
            "strategy": "SPLIT",
            "split_key": "user",
            "conditions": [
                {"field": "extra.tier", "operator": "equals", "value": "premium"},
                {"any": [{"field": "user", "operator": "exists"}, {"not": {"field": "n", "operator": "exists"}}]},
            ],
            "targets": [{"model_name": "openai/gpt-4o", "weight": 9}, "openai/gpt-4o-mini"],
        }
    ],
    "budgets": [{"usd": 5, "per": "day", "key": "user"}],
    "description": "hello \x1b[31mred\u202e [bold]x[/bold]",
}
SECRET_TEXT = "the weather in Ulm"


class Shell:
    """Runs commands against a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "routers.db"

    def __call__(self, *arguments: object, code: int = 0, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, ["--store", str(self.path), *map(str, arguments)], input=stdin)
        assert result.exit_code == code, (result.output, result.exception)
        self.err = result.stderr
        return result.stdout

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))

    def error(self, *arguments: object, code: int) -> str:
        """The one line of an error; with --json it says the same, and its kind."""
        assert self(*arguments, code=code) == ""
        said = self.err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        self(*arguments, "--json", code=code)
        assert f"error: {json.loads(self.err)['error']}\n" == said
        return said

    def file(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def support(shell: Shell) -> Shell:
    """A store with the router ``support`` in two versions, the second of them active."""
    shell("update", "support", shell.file("one.json", SETTINGS), "--create", "--note", "first")
    shell("update", "support", shell.file("two.json", {"max_cost": 0.5}))
    return shell


@pytest.fixture
def asked(shell: Shell) -> Shell:
    """A store whose router ``asked`` has answered a request after a failure, and refused one."""
    clock = FakeClock()
    provider = ScriptedProvider(clock, {"a/x": [ConnectionError("gone")], "b/y": [Reply(SECRET_TEXT)]})
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    models = [{"model": "a/x", "quality": 0.9, **prices}, {"model": "b/y", "quality": 0.5, **prices}]
    with Client(shell.path, log_content=True) as client:
        router = Router("asked", models, client=client, clock=clock, provider=provider)
        message = [{"role": "user", "content": SECRET_TEXT}]
        router.completion(messages=message, user="ann\x1b[1m", extra={"team": "north"})
        with pytest.raises(router_plugin.NoCandidateError):
            router.completion(messages=message, user="bob", max_cost=0.0)
    return shell


# -- looking ------------------------------------------------------------------------------------------------------


def test_an_empty_store_lists_nothing_and_says_how_to_begin(shell: Shell) -> None:
    assert "--create" in shell("list")
    assert shell.json("list") == []


def test_list_shows_every_router(support: Shell) -> None:
    (found,) = support.json("list")
    assert (found["name"], found["version"], found["versions"], found["models"], found["rules"]) == (
        "support", 2, 2, 2, 1,
    )  # fmt: skip
    assert "support" in support("list")


def test_a_damaged_router_does_not_hide_the_others(support: Shell) -> None:
    support("update", "other", support.folder / "one.json", "--create")
    with Client(support.path) as client:
        client.store.database.write(lambda c: c.execute("UPDATE versions SET document = '{' WHERE router = 'other'"))
    found = {one["name"]: one for one in support.json("list")}
    assert "damaged" in found["other"]["error"]
    assert found["support"]["version"] == 2
    assert "damaged" in support("list")
    assert "damaged" in support.error("show", "other", code=6)


def test_show_says_what_a_router_is(support: Shell) -> None:
    text = support("show", "support")
    for part in (
        "support, version 2",
        "max_cost: 0.5",
        "SPLIT by user",
        'extra.tier equals "premium" and (user exists or not (n exists))',
        "openai/gpt-4o (9), openai/gpt-4o-mini (1)",
        "day by user",
        "$5",
        "first",
    ):
        assert part in text
    older = support.json("show", "support", "--version", 1)
    assert (older["version"], older["active_version"]) == (1, 2)
    assert "max_cost" not in older["config"]
    assert len(older["versions"]) == 2
    assert "(active: 2)" in support("show", "support", "--version", 1)


def test_nothing_stored_controls_the_terminal(support: Shell, asked: Shell) -> None:
    for arguments in (
        ("list",), ("show", "support"), ("list", "--json"), ("show", "support", "--json"), ("history", "asked"),
        ("history", "asked", "--json"),
    ):  # fmt: skip
        text = support(*arguments)
        assert all(ch.isprintable() or ch == "\n" for ch in text), arguments
    assert "[bold]x[/bold]" in support("list")  # it is no markup either


def test_a_document_is_cleaned_for_a_terminal_and_exact_for_a_pipe() -> None:
    from io import StringIO

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    pipe, terminal = StringIO(), Terminal()
    Screen(pipe, StringIO()).document("a\u202eb\x1b\n")
    Screen(terminal, StringIO()).document("a\u202eb\x1b\n")
    assert (pipe.getvalue(), terminal.getvalue()) == ("a\u202eb\x1b\n", "a�b�\n")


def test_progress_is_silent_unless_stderr_is_a_terminal() -> None:
    from io import StringIO

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    for err, quiet, seen in ((StringIO(), False, False), (Terminal(), True, False), (Terminal(), False, True)):
        assert list(Screen(StringIO(), err).tracked([1, 2], "counting", quiet, 2)) == [1, 2]
        assert ("counting" in err.getvalue()) is seen


# -- changing -----------------------------------------------------------------------------------------------------


def test_update_replaces_the_settings_that_a_file_gives(support: Shell) -> None:
    path = support.file("three.yaml", "rules: null\ndescription: null\nmodels: [openai/gpt-4o]\n")
    told = support.json("update", "support", path, "--note", "third")
    assert (told["version"], told["active_version"]) == (3, 3)
    config = support.json("show", "support")["config"]
    assert config["models"] == ["openai/gpt-4o"]
    assert config["max_cost"] == 0.5
    assert "rules" not in config
    assert "description" not in config


def test_update_can_keep_a_version_for_later(support: Shell) -> None:
    told = support.json("update", "support", support.file("x.json", {"max_cost": 0.7}), "--no-deploy")
    assert (told["version"], told["active_version"], told["changes"]) == (3, 2, ["~ max_cost: 0.5 -> 0.7"])
    assert "kept; 2 stays active" in support("update", "support", support.folder / "x.json", "--no-deploy")


def test_update_reads_conditions_and_standard_input(support: Shell) -> None:
    support("update", "support", "-", stdin='{"fallback_on": ["litellm.exceptions:RateLimitError"]}')
    assert support.json("show", "support")["config"]["fallback_on"] == ["litellm.exceptions:RateLimitError"]
    support("update", "support", "-", stdin="fallback_on: null\nmax_cost: 1\n")
    assert "fallback_on" not in support.json("show", "support")["config"]


def test_update_with_create_updates_a_router_that_exists(support: Shell) -> None:
    assert support.json("update", "support", support.folder / "one.json", "--create")["version"] == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_cots": 1}, "max_cost"),
        ({"max_cots": None}, "max_cost"),
        ({"max_cost": -1}, "max_cost"),
        ({"models": []}, "models"),
        ({"name": "other"}, "name"),
        ({"hash": "x", "spec": {}}, "import"),
        ([], "mapping"),
        ("{", "JSON"),
        ('{"a": 1, "a": 2}', "twice"),
        ({"models": [{"model": "openai/gpt-4o", "api_key": "sk-abcdefghijkl"}]}, "os.environ"),
    ],
)
def test_a_bad_settings_file_is_bad_input(support: Shell, settings: Any, said: str) -> None:
    path = support.file("bad.json", settings)
    error = support.error("update", "support", path, code=5)
    assert said in error
    assert "sk-abcdefghijkl" not in error
    assert len(support.json("show", "support")["versions"]) == 2


def test_update_refuses_when_somebody_was_faster(support: Shell) -> None:
    path = support.file("x.json", {"max_cost": 0.7})
    assert "newest version is 2" in support.error("update", "support", path, "--based-on", 1, code=4)
    support("update", "support", path, "--based-on", 2)


def test_deploy_and_rollback(support: Shell) -> None:
    assert support.json("rollback", "support")["active_version"] == 1
    assert "no version below 1" in support.error("rollback", "support", code=3)
    assert "version 2 is active (it was 1)" in support("deploy", "support", 2)
    assert support.json("rollback", "support", "--to", 2)["changes"] == []
    support.error("rollback", "support", "--to", 9, code=3)
    support.error("deploy", "support", 9, code=3)


def test_rollback_goes_to_the_highest_version_below_the_active_one(support: Shell) -> None:
    support("update", "support", support.folder / "two.json", "--no-deploy")
    assert support.json("rollback", "support")["active_version"] == 1


def test_diff_exits_with_1_only_where_it_is_asked_to(support: Shell) -> None:
    assert support("diff", "support", 1, 2) == "+ max_cost: 0.5\n"
    assert support("diff", "support", 1, 2, "--exit-code", code=1) == "+ max_cost: 0.5\n"
    assert support("diff", "support", 2, 2, "--exit-code") == ""
    assert support.json("diff", "support", 2, 1)["changes"] == ["- max_cost: 0.5"]
    support.error("diff", "support", 1, 7, code=3)


def test_delete_needs_to_be_told_twice(support: Shell) -> None:
    support("delete", "support", code=2)
    assert "--yes" in support.err
    assert support.json("delete", "support", "--yes") == {"name": "support", "deleted": True}
    support.error("delete", "support", "--yes", code=3)
    support.error("show", "support", code=3)


# -- deciding -----------------------------------------------------------------------------------------------------


def test_route_decides_without_a_call(support: Shell) -> None:
    text = support("route", "support", "--prompt", SECRET_TEXT)
    assert "first choice: openai/gpt-4o" in text
    assert "extra.tier equals 'premium': the field is missing" in text
    assert SECRET_TEXT not in text
    data = {"prompt": SECRET_TEXT, "extra": {"tier": "premium"}, "user": "ann"}
    for given in (json.dumps(data), f"@{support.file('data.json', data)}"):
        found = support.json("route", "support", "--data", given)
        assert found["matched_rule"] == "premium"
        assert SECRET_TEXT not in json.dumps(found)
    assert "premium" in support("route", "support", "--data", "-", stdin=json.dumps(data))
    assert support.json("route", "support", "--prompt", "x", "--version", 1)["version"] == 1


def test_nothing_to_route_is_an_answer(support: Shell) -> None:
    data = ("--data", '{"max_cost": 0}', "--prompt", "x")
    text = support("route", "support", *data, code=1)
    assert "left out: max_cost" in text
    assert support.err.startswith("error: router 'support'")
    assert support.err.count("\n") == 1
    assert support.json("route", "support", *data, code=1)["status"] == "refused"
    assert json.loads(support.err)["kind"] == "no_candidate"


@pytest.mark.parametrize("data", ["{", "[]", "@nowhere.json"])
def test_bad_data_is_bad_input(support: Shell, data: str) -> None:
    support.error("route", "support", "--data", data, code=3 if data.startswith("@") else 5)


def test_route_needs_a_request(support: Shell) -> None:
    support("route", "support", code=2)
    support.error("route", "nobody", "--prompt", "x", code=3)


def test_check_answers_by_its_exit_code(support: Shell) -> None:
    assert support("check", "support")
    assert isinstance(support.json("check", "support", "--version", 1), dict)
    sample = support.file("sample.jsonl", '{"prompt": "x"}\n\n{"extra": {"tier": "premium"}, "prompt": "y"}\n')
    support.json("check", "support", "--sample", sample)
    settings = support.file("good.json", {"name": "good", **SETTINGS})
    support.json("check", settings, "--sample", sample)
    bad = support.file("bad.json", {"name": "bad", "models": ["openai/gpt-4o"], "max_cots": 1})
    support.json("check", bad, code=1)
    assert "max_cots" in support("check", bad, code=1)
    support.error("check", support.file("bad.jsonl", "{}"), code=5)
    support.error("check", support.folder / "missing.yaml", code=3)
    rules = [{"name": "on", "targets": ["router/support"]}]
    further = support.file("on.json", {"name": "on", "models": ["openai/gpt-4o"], "rules": rules})
    assert "unknown_router" in support("check", further)
    assert "unknown_router" not in support("check", further, "--beside", "support")
    support.error("check", further, "--beside", "nobody", code=3)
    support.error("check", "support", "--sample", support.file("no.jsonl", "{}\n[]\n"), code=5)
    support("check", settings, "--version", 1, code=2)


def test_replay_decides_again(asked: Shell) -> None:
    assert "undecidable" in asked("replay", "asked")
    assert asked.json("replay", "asked", "--version", 1)["requests"] == 2
    assert asked.json("replay", "asked", "--limit", 1)["requests"] == 1
    assert "max_cost" in asked.json("replay", "asked", "--spec", asked.file("part.json", {"max_cost": 1}))["version"]
    asked.error("replay", "asked", "--spec", asked.file("typo.json", {"max_cots": 1}), code=5)
    spec = asked.file("spec.json", {"models": ["openai/gpt-4o"]})
    requests = asked.folder / "requests.jsonl"
    asked("history", "asked", "--export", requests)
    asked.json("replay", "asked", "--spec", spec, "--requests", requests)
    asked("replay", "asked", "--spec", spec, "--version", 1, code=2)
    asked.error("replay", "asked", "--version", 7, code=3)
    asked.error("replay", "nobody", code=3)


# -- what was asked -----------------------------------------------------------------------------------------------


def test_history_shows_requests_but_not_what_they_say(asked: Shell) -> None:
    refused, answered = asked.json("history", "asked")
    assert (refused["status"], answered["status"], answered["model"]) == ("refused", "answered", "b/y")
    for text in (asked("history", "asked"), asked("history", "asked", "--json")):
        assert answered["request_id"] in text
        assert SECRET_TEXT not in text
    assert [one["status"] for one in asked.json("history", "asked", "--status", "answered")] == ["answered"]
    assert [one["user"] for one in asked.json("history", "asked", "--user", "bob")] == ["bob"]
    assert asked.json("history", "asked", "--model", "b/y", "--limit", 1)[0]["model"] == "b/y"
    assert asked.json("history", "asked", "--rule", "none") == []
    assert asked.json("history", "asked", "--since", "2999-01-01") == []
    assert asked.json("history", "asked", "--until", "0") == []
    assert "no requests" in asked("history", "asked", "--since", "2999-01-01")
    assert "since" in asked.error("history", "asked", "--since", "yesterday", code=5)
    asked("history", "asked", "--limit", 0, code=2)
    asked.error("history", "nobody", code=3)


def test_history_is_exported_to_a_file(asked: Shell) -> None:
    path = asked.folder / "out.jsonl"
    assert asked.json("history", "asked", "--export", path)["requests"] == 2
    assert [json.loads(line)["status"] for line in path.read_text().splitlines()] == ["answered", "refused"]
    assert "1 request" in asked("history", "asked", "--export", asked.folder / "o.csv", "--status", "refused")
    asked.error("history", "asked", "--export", asked.folder / "o.xml", code=5)
    asked.error("history", "asked", "--export", asked.folder / "none" / "o.csv", code=3)


def test_explain_says_why(asked: Shell) -> None:
    refused, answered = (one["request_id"] for one in asked.json("history", "asked"))
    text = asked("explain", "asked", answered)
    for part in ("served by: b/y", "a/x", "0.900", "connection: ConnectionError", "10", "$0.000015"):
        assert part in text
    assert "left out: max_cost" in asked("explain", "asked", refused)
    found = asked.json("explain", "asked", answered)
    assert len(found["attempts"]) >= 2
    assert SECRET_TEXT not in json.dumps(found) + text
    asked.error("explain", "asked", "nothing", code=3)


def test_feedback_is_kept(asked: Shell) -> None:
    _, answered = (one["request_id"] for one in asked.json("history", "asked"))
    assert asked.json("feedback", "asked", answered, "0.25")["feedback"] == 0.25
    assert "feedback 1" in asked("feedback", "asked", answered, "1")
    assert asked.json("explain", "asked", answered)["feedback"] == 1.0
    asked.error("feedback", "asked", answered, "1.5", code=5)
    asked.error("feedback", "asked", "nothing", "1", code=3)
    asked("feedback", "asked", answered, "good", code=2)


def test_requests_outlive_their_router(asked: Shell) -> None:
    asked("delete", "asked", "--yes")
    refused, _ = asked.json("history", "asked")
    assert refused["request_id"] in asked("explain", "asked", refused["request_id"])


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.json", "out.yaml"])
def test_an_export_comes_back_as_the_same_version(support: Shell, name: str) -> None:
    path = support.folder / name
    told = support.json("export", "support", "-o", path, "--version", 1)
    assert told["version"] == 1
    fresh = Shell(support.folder / "elsewhere")
    (saved,) = fresh.json("import", path)
    assert (saved["name"], saved["version"], saved["saved"]) == ("support", 1, True)
    older = support.json("show", "support", "--version", 1)
    assert fresh.json("show", "support")["config"] == older["config"]
    assert fresh.json("show", "support")["versions"][0]["hash"] == older["versions"][0]["hash"]
    assert fresh.json("import", path)[0]["version"] == 2  # the newest version of its router


def test_export_writes_to_stdout(support: Shell) -> None:
    assert json.loads(support("export", "support"))["spec"]["max_cost"] == 0.5
    assert support("export", "support", "--format", "yaml").startswith("router: support\n")
    assert json.loads(support("export", "support", "--json"))["router"] == "support"
    support("export", "support", "--format", "yaml", "--json", code=2)
    support.error("export", "support", "--version", 8, code=3)
    support.error("export", "support", "-o", support.folder, code=5)


def test_an_export_that_was_changed_is_refused(support: Shell) -> None:
    text = support("export", "support").replace("0.5", "0.6")
    assert "hash" in support.error("import", support.file("changed.json", text), code=5)


def test_import_under_another_name_and_without_saving(support: Shell) -> None:
    path = support.file("export.json", support("export", "support"))
    (dry,) = support.json("import", path, "--name", "twin", "--dry-run")
    assert (dry["name"], dry["version"], dry["saved"]) == ("twin", None, False)
    assert "nothing was saved" in support("import", path, "--dry-run")
    assert [one["name"] for one in support.json("list")] == ["support"]
    assert "saved as version 1" in support("import", path, "--name", "twin")
    assert [one["name"] for one in support.json("list")] == ["support", "twin"]


KEYED = {"model": "openai/gpt-4o", "api_key": "sk-1234567890ab"}
FOREIGN = {
    "mixtrain": {"rules": [{"name": "a", "targets": [{"model_name": "openai/gpt-4o", "label": "x"}]}]},
    "litellm": {"model_list": [{"model_name": "a", "litellm_params": KEYED}]},
    "openrouter": {"models": ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"], "transforms": ["middle-out"]},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_configurations_are_imported(shell: Shell, kind: str) -> None:
    path = shell.file(f"{kind}.json", FOREIGN[kind])
    (found,) = shell.json("import", path, "--name", kind)
    assert found["saved"]
    assert found["left_out"]
    text = shell("import", path, "--kind", kind, "--replace", "--name", kind)
    assert "left out: " in text
    assert "saved as version 2" in text
    assert "sk-1234567890ab" not in text
    assert "already" in shell.error("import", path, "--name", kind, code=4)


def test_a_router_string_is_imported(shell: Shell) -> None:
    text = "router@q:1|c:4.65e-03\n"
    assert shell.json("import", shell.file("u.txt", text), "--name", "u")[0]["settings"]["models"] == "any"
    assert "v: any model" in shell("import", "-", "--kind", "unify", "--name", "v", stdin=text)


def test_of_several_files_all_are_imported_or_none(support: Shell) -> None:
    files = [support.file(f"{name}.json", {"name": name, "models": ["openai/gpt-4o"]}) for name in ("a", "b", "c")]
    support.error("import", *files, support.file("d.json", "{}"), code=5)
    assert [one["name"] for one in support.json("list")] == ["support"]
    assert [one["version"] for one in support.json("import", *files)] == [1, 1, 1]
    mix = support.file("m.json", FOREIGN["mixtrain"])
    support.error("import", mix, mix, code=4)
    support("import", *files, "--name", "x", code=2)
    support("import", files[0], "--kind", "other", code=2)
    support.error("import", files[0], "--kind", "litellm", code=5)
    support.error("import", support.folder / "none.json", code=3)


# -- the program --------------------------------------------------------------------------------------------------


def test_every_command_has_help_and_the_program_documents_its_exit_codes(shell: Shell) -> None:
    text = " ".join(shell("--help").split())
    for code in (
        "0 ok",
        "1 the answer is no",
        "2 wrong usage",
        "3 not found",
        "4 conflict",
        "5 bad input",
        "6 the store",
    ):
        assert code in text
    commands = [one.name for one in app.registered_commands]
    assert len(commands) == 20
    for name in commands:
        assert "--json" in shell(name, "--help")


def test_options_stand_before_or_after_the_command(tmp_path: Path) -> None:
    store = str(tmp_path / "folder")
    runner = CliRunner()
    for arguments in (["--store", store, "--json", "list"], ["list", "--json", "--store", store]):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 0
        assert json.loads(result.stdout) == []
    assert (tmp_path / "folder" / "routers.db").exists()


def test_what_libraries_print_stays_off_stdout(support: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def noisy(router: Router) -> dict[str, Any]:
        print("Provider List: …")
        return {"name": router.name, "models": "any"}

    monkeypatch.setattr(Router, "config", property(noisy))
    assert support.json("show", "support")["name"] == "support"
    assert "Provider List" in support.err


def test_a_fault_of_ours_is_one_line_and_its_trace_is_shown_on_request(
    support: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(router: Router) -> int:
        raise KeyError("oops sk-abcdefghijkl")

    monkeypatch.setattr(Router, "version", property(broken))
    assert "unexpected KeyError" in support.error("show", "support", code=70)
    support("show", "support", "--debug", code=70)
    assert "Traceback" in support.err
    assert "sk-abcdefghijkl" not in support.err


def test_a_store_that_is_none(shell: Shell) -> None:
    path = shell.file("text.db", "this is no database, whatever its name may say " * 100)
    result = CliRunner().invoke(app, ["--store", str(path), "list"])
    assert result.exit_code == 6
    assert result.stderr.startswith("error: text.db: ")


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def test_the_program_exits_as_it_says(tmp_path: Path) -> None:
    run = _run("-m", "router_plugin.cli", "show", "nobody", ROUTER_PLUGIN_HOME=str(tmp_path))
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr.startswith("error: there is no router 'nobody'")
    run = _run("-m", "router_plugin.cli", "show", "--json", ROUTER_PLUGIN_HOME=str(tmp_path))
    assert run.returncode == 2
    assert json.loads(run.stderr)["kind"] == "usage"
    run = _run("-m", "router_plugin.cli", "--version")
    assert (run.returncode, run.stdout) == (0, f"router-plugin {router_plugin.__version__}\n")


def test_a_list_needs_no_litellm(tmp_path: Path) -> None:
    code = (
        "import sys; from router_plugin.cli import main\nsys.argv[1:] = ['list', '--json']\n"
        "try: main()\nexcept SystemExit as end: print(end.code, 'litellm' in sys.modules)"
    )
    assert _run("-c", code, ROUTER_PLUGIN_HOME=str(tmp_path)).stdout.split() == ["[]", "0", "False"]


@pytest.mark.parametrize("name", ["typer", "rich"])
def test_without_the_extra_the_program_says_what_to_install(name: str) -> None:
    code = f"import sys; sys.modules[{name!r}] = None\nfrom router_plugin.cli import main; main()"
    run = _run("-c", code)
    assert run.returncode == 70
    assert run.stderr.count("\n") == 1
    assert name in run.stderr
    assert 'pip install "router-plugin[cli]"' in run.stderr


def test_a_shell_completes_names_of_routers(support: Shell) -> None:
    support("update", "sales", support.folder / "one.json", "--create")
    complete = {"_ROUTER_PLUGIN_COMPLETE": "complete_bash", "ROUTER_PLUGIN_HOME": str(support.folder)}
    code = "import sys; from router_plugin.cli import main; main()"
    for words, position, found in (
        ("router-plugin show s", "2", ["support", "sales"]),
        ("router-plugin --store nowhere.db show s", "4", []),
        ("router-plugin rollb", "1", ["rollback"]),
    ):
        run = _run("-c", code, **complete, COMP_WORDS=words, COMP_CWORD=position)
        assert run.stdout.split() == found, run.stderr
    assert not Path("nowhere.db").exists()

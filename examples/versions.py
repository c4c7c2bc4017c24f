"""Routers as resources: saved in one file, changed by new versions, deployed and rolled back while calls go on."""

import os
import tempfile
import threading

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported
os.environ.setdefault("HELPDESK_KEY", "not-needed")  # a stored router holds no keys: it names the variable

import litellm

from router_plugin import (
    Client,
    CostConstraint,
    Deployment,
    QualityConstraint,
    Router,
    RouteResult,
    RoutingConstraint,
    install,
)
from router_plugin.testing import LoopbackProvider


def main() -> None:
    with LoopbackProvider() as provider, tempfile.TemporaryDirectory() as folder, Client(folder) as client:
        for name in ("small", "large"):
            provider.model(name, reply=f"(the {name} model answers)")
        here = {"api_base": provider.openai_base, "api_key": "os.environ/HELPDESK_KEY"}
        small = Deployment("openai/small", quality=0.6, input_cost_per_token=1e-7, output_cost_per_token=4e-7, **here)
        large = Deployment("openai/large", quality=0.9, input_cost_per_token=2e-6, output_cost_per_token=8e-6, **here)
        router = Router("helpdesk", models=[small], client=client)
        router.update(models=[small, large], max_cost=0.01, note="the large one too")
        for version in router.versions:
            print(f"version {version['version']} {version['hash'][:12]} active={version['active']} {version['note']}")
        print(router.diff(1, 2))

        # Deploy and roll back under traffic: no call fails, and each finishes on the version it began with.
        served: dict[int, int] = {}
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                answer = litellm.completion(model="router/helpdesk", messages=[{"role": "user", "content": "hello"}])
                result = RouteResult.of(answer)
                assert result.deployment == ("openai/small" if result.version == 1 else "openai/large")
                served[result.version] = served.get(result.version, 0) + 1

        with install(router):
            threads = [threading.Thread(target=ask) for _ in range(2)]
            for thread in threads:
                thread.start()
            for number in (1, 2) * 5:
                router.deploy(number)
                stop.wait(0.1)
            stop.set()
            for thread in threads:
                thread.join()
            old = litellm.completion(
                model="router/helpdesk/versions/1", messages=[{"role": "user", "content": "hello"}]
            )
        print(f"calls by version: {dict(sorted(served.items()))}; version 1 by name: {old.model}")

        # Another process (here: another client) refers to it by name; Martian's interface is there too.
        again = Router("helpdesk", client=Client(folder))
        print(again.config["models"][0]["model"], again.active_version)
        text = client.routers.run(
            router,
            RoutingConstraint(CostConstraint(0.05), QualityConstraint(0.5)),  # both: the cheapest that is good enough
            {"messages": [{"role": "user", "content": "hello"}]},
        )
        print(f"{text} by {text.route_result.deployment}")
        exported = router.export(2, format="yaml")
        with tempfile.TemporaryDirectory() as other:
            copy = Client(other).routers.import_router(exported)
            assert copy.export(format="yaml") == exported
            print(f"exported and imported: {copy.versions[0]['hash'] == router.versions[1]['hash']}")


if __name__ == "__main__":
    main()

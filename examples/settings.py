"""A router from a settings file (``router.yaml`` beside this one), and what happens when the file is wrong."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Router, SpecError, install

SETTINGS = Path(__file__).with_name("router.yaml")


def main() -> None:
    router = Router.from_file(SETTINGS)
    print(router)
    for deployment in router.spec.deployments:
        print(f"  {deployment.name:<20} {deployment.model:<22} quality {deployment.quality}")

    # The key is read when a call is made; here the environment gets one so that the example can go on. (mock_response
    # is litellm's own: it answers without calling anybody.)
    os.environ.setdefault("HELPDESK_KEY", "not-needed")
    question = [{"role": "user", "content": "How do I reset my password?"}]
    with install(router):
        answer = litellm.completion(
            model="router/helpdesk",
            messages=question,
            user="ann",
            extra={"team": "support"},
            mock_response="Use the link on the sign-in page.",
        )
    print(f"\n{router.explain(answer)}\n")
    for record in router.budgets():
        print(f"{record['name']:<20} {record['key']:<8} spent ${record['settled_usd']:.6f} of ${record['limit_usd']:g}")
        assert record["settled_usd"] > 0
        assert record["reserved_usd"] == 0

    # A picture is something the in-house model cannot take: the file says so.
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/receipt.png"}}
    result = router.route(messages=[{"role": "user", "content": [picture]}])
    print(f"\nwith a picture, left out: {result.rejected}")
    assert "in-house" in result.rejected

    # A misspelt setting is an error that says where it is and what was probably meant.
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder, "router.yaml")
        wrong.write_text(SETTINGS.read_text(encoding="utf-8").replace("max_cost:", "max_costs:"), encoding="utf-8")
        try:
            Router.from_file(wrong)
        except SpecError as error:
            print(f"\n{error}")
        else:
            raise AssertionError("a misspelt setting went unnoticed")


if __name__ == "__main__":
    main()

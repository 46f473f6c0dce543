"""The policy names the script and the style by their hashes and allows nothing else."""

from __future__ import annotations

import base64
import hashlib

from pretune.page.policy import policy_of_file, policy_of_server


def directives(policy: str) -> dict[str, str]:
    return dict(directive.split(" ", 1) for directive in policy.split("; "))


def test_the_file_allows_its_own_script_and_style_by_hash() -> None:
    found = directives(policy_of_file("a('ä')", "p {}"))
    expected = base64.b64encode(hashlib.sha256("a('ä')".encode()).digest()).decode()
    assert found["script-src"] == f"'sha256-{expected}'"
    assert found["style-src"].startswith("'sha256-")
    assert found["style-src"] != found["script-src"]


def test_neither_page_allows_anything_else() -> None:
    for policy in (policy_of_file("", ""), policy_of_server()):
        found = directives(policy)
        assert found["default-src"] == found["base-uri"] == found["form-action"] == "'none'"
        assert "unsafe" not in policy
        assert "*" not in policy
        assert "http" not in policy
    assert directives(policy_of_file("", ""))["connect-src"] == "'none'"
    assert directives(policy_of_server())["connect-src"] == "'self'"

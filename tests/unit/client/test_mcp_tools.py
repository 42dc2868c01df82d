"""Paid tools from OpenAPI documents and from the command line."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from retainer.cli import main
from retainer.errors import OfferError
from retainer.mcp.tools import PaidTool, described, named_tool, priced_tools

BASE = "https://api.test"
PRICED = {"x-payment-info": {"offers": [{"method": "solana", "intent": "session", "description": "0.008 USDC"}]}}


def tools(**paths: Any) -> dict[str, PaidTool]:  # noqa: ANN401
    document = {
        "paths": {f"/{path.replace('_', '/')}": operations for path, operations in paths.items()},
        "components": {"schemas": {"Place": {"type": "object", "properties": {"next": {"$ref": ref("Place")}}}}},
    }
    return {tool.name: tool for tool in priced_tools(document, f"{BASE}/")}


def ref(name: str) -> str:
    return f"#/components/schemas/{name}"


def test_priced_operations_become_tools_and_free_ones_do_not() -> None:
    found = tools(ask={"post": {"summary": "Ask.", **PRICED}, "get": {"summary": "free"}}, health={"get": {}})
    assert [(tool.method, tool.url, tool.description) for tool in found.values()] == [
        ("POST", f"{BASE}/ask", "Ask. Paid: 0.008 USDC")
    ]


def test_arguments_go_where_the_document_says() -> None:
    operation = {
        "operationId": "find.place",
        "parameters": [
            {"in": "path", "name": "where", "schema": {"type": "string"}},
            {"in": "query", "name": "most", "schema": {"type": "integer"}},
            {"in": "header", "name": "Idempotency-Key", "schema": {"type": "string"}},
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": ref("Place")}}}},
        **PRICED,
    }
    [tool] = tools(**{"places_{where}": {"put": operation}}).values()
    assert tool.name == "find_place"
    schema = tool.input_schema
    assert (list(schema["properties"]), schema["required"]) == (["where", "most", "body"], ["where", "body"])
    assert schema["properties"]["body"] == {"$ref": "#/$defs/Place"}
    assert schema["$defs"]["Place"]["properties"]["next"] == {"$ref": "#/$defs/Place"}
    assert tool.request({"where": "a b/c", "most": 3, "body": {"next": None}}) == (
        f"{BASE}/places/a%20b/c",
        {"params": {"most": 3}, "json": {"next": None}},
    )
    with pytest.raises(ValueError, match="needs the argument body"):
        tool.request({"where": "x"})
    with pytest.raises(ValueError, match="no argument other; it takes where, most, body"):
        tool.request({"where": "x", "body": 1, "other": 1})


@pytest.mark.parametrize("value", ["../admin", "a/../../b", ".", "a//b", ""])
def test_a_path_leads_nowhere_but_to_what_is_priced(value: str) -> None:
    operation = {"parameters": [{"in": "path", "name": "path", "schema": {"type": "string"}}], **PRICED}
    [tool] = tools(**{"v1_{path}": {"get": operation}}).values()
    with pytest.raises(ValueError, match="path segments without empty ones"):
        tool.request({"path": value})


def test_a_route_that_says_nothing_of_its_query_takes_any() -> None:
    [tool] = tools(ask={"get": PRICED}).values()
    assert tool.name == "get_ask"
    assert tool.request({"query": {"q": "why", "n": 2}}) == (f"{BASE}/ask", {"params": {"q": "why", "n": "2"}})


@pytest.mark.parametrize("document", [{}, [], None, {"paths": {"/a": {"get": {"x-payment-info": "?"}}}}])
def test_a_document_without_prices_says_what_to_do(document: object) -> None:
    with pytest.raises(OfferError, match="name its tools with --tool"):
        priced_tools(document, BASE)


def test_two_operations_of_one_name_are_not_guessed_apart() -> None:
    with pytest.raises(OfferError, match="both called ask"):
        tools(a={"get": {"operationId": "ask", **PRICED}}, b={"get": {"operationId": "ask", **PRICED}})


def test_a_tool_can_be_named_by_hand() -> None:
    tool = described(named_tool("ask=POST https://api.test/ask?lang=en"), "0.008 USDC a call at most")
    assert (tool.name, tool.method, tool.description) == (
        "ask",
        "POST",
        "POST https://api.test/ask?lang=en. Paid: 0.008 USDC a call at most",
    )
    assert tool.request({"body": "why?"}) == ("https://api.test/ask?lang=en", {"content": "why?"})


@pytest.mark.parametrize("text", ["ask", "a sk=GET https://x", "=GET https://x", "ask=FETCH https://x", "ask=GET x"])
def test_a_badly_named_tool_is_told_how_it_reads(text: str) -> None:
    with pytest.raises(ValueError, match="NAME=METHOD URL"):
        named_tool(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["https://api.test", "--max-per-day", "2.0"], "say with --deposit"),
        (["https://api.test", "--deposit", "0.5"], "with --max-per-day how much"),
        (["--deposit", "0.5", "--max-per-day", "2.0"], "name a SERVICE whose prices become tools"),
        (["--tool", "ask", "--deposit", "0.5", "--max-per-day", "2.0"], "NAME=METHOD URL"),
    ],
)
def test_a_model_gets_no_tools_without_bounds_or_names(tmp_path: Path, arguments: list[str], said: str) -> None:
    key = tmp_path / "agent.json"
    CliRunner().invoke(main, ["keygen", str(key)])
    shared = ["--keypair", str(key), "--store", str(tmp_path / "sessions.sqlite")]
    result = CliRunner().invoke(main, ["mcp", *arguments, *shared])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())

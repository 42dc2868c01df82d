"""The public names: what is promised is there, sorted, and the same for type checkers and at run time."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import retainer


def test_the_public_names_are_sorted_and_complete() -> None:
    assert retainer.__all__ == sorted(retainer.__all__)
    assert dir(retainer) == retainer.__all__
    for name in retainer.__all__:
        assert getattr(retainer, name) is not None


def test_every_name_has_the_home_that_type_checkers_see() -> None:
    tree = ast.parse(Path(inspect.getfile(retainer)).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("retainer.")
        for alias in node.names
    }
    assert sorted(seen) == retainer.__all__
    for name, module in seen.items():
        assert getattr(retainer, name) is getattr(import_module(str(module)), name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Sessions'"):
        getattr(retainer, "Sessions")  # noqa: B009  an attribute that type checkers would refuse


@pytest.mark.parametrize("name", retainer.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    member = getattr(retainer, name)
    if inspect.isclass(member) or inspect.isfunction(member):
        assert inspect.getdoc(member)

"""px's dataclasses against those of the standard library, which type checkers take them for."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import pypx
from pypx.model import dataclass as ours
from pypx.model.peers import CubeTarget

Make = Callable[..., Callable[[type], type]]


def _frozen(make: Make) -> Any:
    class Point:
        """A point."""

        x: int
        label: str = dataclasses.field(default="", compare=False)
        secret: str = dataclasses.field(default="s", repr=False)
        tags: dict[str, int] = dataclasses.field(default_factory=dict)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("below zero")

    Point.__qualname__ = "Point"
    return make(frozen=True, slots=True)(Point)


def _mutable(make: Make) -> Any:
    class Count:
        number: int = 0
        seen: list[int] = dataclasses.field(default_factory=list, init=False)
        looks: int = dataclasses.field(default=2, init=False)

    Count.__qualname__ = "Count"
    return make(slots=True)(Count)


OURS: Make = ours.dataclass
THEIRS: Make = dataclasses.dataclass
BOTH = pytest.mark.parametrize("make", [OURS, THEIRS], ids=["ours", "theirs"])


@BOTH
def test_a_frozen_one_is_made_compared_shown_and_kept_from_change(make: Make) -> None:
    point = _frozen(make)
    one = point(1, "here", tags={"a": 1})
    assert repr(one) == "Point(x=1, label='here', tags={'a': 1})"
    assert one == point(x=1, label="there", tags={"a": 1})
    assert one != point(2, "here", tags={"a": 1})
    assert one != (1, "here", "s", {"a": 1})
    assert point(1).tags is not point(1).tags
    assert point.__match_args__ == ("x", "label", "secret", "tags")
    assert not hasattr(one, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        one.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        del one.x
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        one.unknown = 1
    assert one.x == 1


@BOTH
def test_the_first_object_is_made_like_the_second(make: Make) -> None:
    for _ in range(2):
        point = _frozen(make)
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
            point()
        with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
            point(1, y=2)
        with pytest.raises(ValueError, match="below zero"):
            point(-1)
        assert point(3).x == 3


@BOTH
def test_the_functions_of_the_standard_library_take_it(make: Make) -> None:
    point = _frozen(make)
    one = dataclasses.replace(point(1, "here"), x=5)
    assert dataclasses.asdict(one) == {"x": 5, "label": "here", "secret": "s", "tags": {}}
    assert [field.name for field in dataclasses.fields(point)] == ["x", "label", "secret", "tags"]
    assert dataclasses.is_dataclass(point)
    with pytest.raises(ValueError, match="below zero"):
        dataclasses.replace(one, x=-1)
    for again in (copy.copy(one), copy.deepcopy(one)):
        assert again == one
        assert again.label == "here"


@BOTH
def test_hashes_are_of_what_is_compared_and_of_frozen_ones_alone(make: Make) -> None:
    class Pair:
        a: int
        b: int = dataclasses.field(default=0, compare=False)

    pair: Any = make(frozen=True, slots=True)(Pair)
    assert hash(pair(1, 2)) == hash(pair(1, 3))
    assert len({pair(1), pair(1), pair(2)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(_mutable(make)())


@BOTH
def test_a_mutable_one_changes(make: Make) -> None:
    count = _mutable(make)
    one = count(3)
    one.number += 1
    one.seen.append(7)
    assert repr(one) == "Count(number=4, seen=[7], looks=2)"
    assert one != count(4)
    with pytest.raises(TypeError):
        count(1, [2])
    with pytest.raises(AttributeError):
        one.unknown = 1


@BOTH
def test_methods_that_a_class_writes_itself_stay(make: Make) -> None:
    class Loud:
        word: str

        def __repr__(self) -> str:
            return self.word.upper()

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Loud) or other.__class__ is self.__class__

        def __hash__(self) -> int:
            return 7

    loud: Any = make(frozen=True, slots=True)(Loud)
    assert repr(loud("a")) == "A"
    assert loud("a") == loud("b")
    assert hash(loud("a")) == 7


@BOTH
def test_a_class_may_inherit_fields(make: Make) -> None:
    point = _frozen(make)

    class Solid(point):  # type: ignore[misc, valid-type]
        z: int = 9

    solid: Any = make(frozen=True, slots=True)(Solid)
    one = solid(1, z=4)
    assert (one.x, one.z, one.label) == (1, 4, "")
    assert one != point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.z = 5
    with pytest.raises(ValueError, match="below zero"):
        solid(-1)


def test_a_password_is_not_shown() -> None:
    assert "hidden" not in repr(CubeTarget("https://cube.example", "me", "hidden"))


def test_one_can_be_sent_to_another_process() -> None:
    node = CubeTarget("https://cube.example", "me", "hidden")
    assert pickle.loads(pickle.dumps(node)) == node


def test_all_of_px_are_made_here() -> None:
    """One that is made by the standard library costs each command that loads it half a millisecond."""
    theirs = []
    for module in pkgutil.walk_packages(pypx.__path__, "pypx."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            here = isinstance(value, type) and value.__module__ == module.name and dataclasses.is_dataclass(value)
            if here and value.__dataclass_params__.init:
                theirs.append(f"{module.name}.{value.__name__}")
    assert theirs == []

"""Dataclasses that take a fraction of the time to make.

:func:`dataclasses.dataclass` writes the source of six methods for each class and compiles it, before anything is done
with the class: half a millisecond, and the commands of px have thirty to sixty such classes, most of which a run never
makes an object of.  That was a third of the start-up of a retrieve.  So here methods that do the same in every class
are written once, and ``__init__``, which is compiled for speed, is when the first object is made.

To type checkers this *is* :func:`dataclasses.dataclass`, and `fields`, `replace` and `asdict` of that module work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - handed on
else:

    def dataclass(*, slots: bool, frozen: bool = False) -> Callable[[type], type]:
        """As ``dataclasses.dataclass(slots=True, frozen=…)``; slots are what all of px's have."""

        def made(written: type) -> type:
            return _made(written, slots=slots, frozen=frozen)

        return made


def _made(written: type, *, slots: bool, frozen: bool) -> type:
    written.__doc__ = written.__doc__ or written.__name__  # else its signature is made one
    made: type = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(written)
    fields = dataclasses.fields(made)
    methods = {
        "__init__": _first_init(made, frozen=frozen),
        "__repr__": _repr([one.name for one in fields if one.repr]),
        **_comparison([one.name for one in fields if one.compare], hashed=frozen),
    }
    if frozen:
        names = frozenset(one.name for one in fields)
        methods |= _immutability(made, names) | _state([one.name for one in fields])
    for name, method in methods.items():
        if written.__dict__.get(name) is None:  # __hash__ is None where __eq__ is written
            setattr(made, name, method)
    return made


def _first_init(made: type, *, frozen: bool) -> Callable[..., None]:
    """An ``__init__`` that puts the compiled one in its place."""

    def __init__(self: object, *values: Any, **named: Any) -> None:  # noqa: N807 - as it is found
        init = _compiled_init(made, frozen=frozen)
        type.__setattr__(made, "__init__", init)
        init(self, *values, **named)

    return __init__


def _compiled_init(made: type, *, frozen: bool) -> Callable[..., None]:
    """The ``__init__`` of the standard library, for a class with the same fields."""
    content: dict[str, Any] = {"__annotations__": {}, "__doc__": made.__doc__, "__qualname__": made.__qualname__}
    for one in dataclasses.fields(made):
        content["__annotations__"][one.name] = object
        content[one.name] = dataclasses.field(
            default=one.default, default_factory=one.default_factory, init=one.init, kw_only=one.kw_only
        )
    if hasattr(made, "__post_init__"):
        content["__post_init__"] = None
    whole: type = dataclasses.dataclass(repr=False, eq=False, frozen=frozen, slots=True)(
        type(made.__name__, (), content)
    )
    init: Callable[..., None] = whole.__dict__["__init__"]
    return init


def _repr(names: list[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:  # noqa: N807 - as above
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({shown})"

    return __repr__


def _comparison(names: list[str], *, hashed: bool) -> dict[str, Any]:
    """Equal are objects of one class with equal fields; what can change has no hash."""
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807 - as above
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807 - as above
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if hashed else None}


def _immutability(made: Any, names: frozenset[str]) -> dict[str, Any]:
    """No field can be set or deleted, nor anything else in an object of the class itself."""

    def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807 - as above
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(made, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807 - as above
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(made, self).__delattr__(name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


def _state(names: list[str]) -> dict[str, Any]:
    """For copies: what is set at once cannot be set again by attribute."""

    def __getstate__(self: Any) -> list[Any]:  # noqa: N807 - as above
        return [getattr(self, name) for name in names]

    def __setstate__(self: Any, state: list[Any]) -> None:  # noqa: N807 - as above
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return {"__getstate__": __getstate__, "__setstate__": __setstate__}

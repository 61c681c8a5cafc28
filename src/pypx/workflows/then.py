"""The chain as it is written: ``--then`` and ``--thenArgs``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pypx.errors import InputError
from pypx.model.dataclass import dataclass

_SECRET_ARGS = frozenset({"CUBEuserpasswd", "swiftLogin"})


@dataclass(frozen=True, slots=True)
class Step:
    """A verb of a chain and its own arguments, by option name."""

    verb: str
    args: Mapping[str, Any]


def parse_then(then: str, then_args: str = "") -> tuple[Step, ...]:
    """Verbs and the arguments of each.

    Parameters
    ----------
    then : verbs separated by commas, such as ``retrieve,status``; blanks around them do not count
    then_args : nothing; a JSON object per verb, separated by semicolons (an empty part means none); one JSON array with
        an object per verb; or one JSON object that maps verbs to their objects.  ``false`` means false.

    Raises
    ------
    InputError : an empty verb, no JSON, or not one object per verb.  Whether a verb exists is the chain's to say.
    """
    if not then.strip():
        if then_args.strip():
            raise InputError("--thenArgs needs --then: there is no verb that the arguments could be for")
        return ()
    verbs = tuple(verb.strip() for verb in then.split(","))
    if not all(verbs):
        raise InputError(f"--then: {then!r} has an empty verb; separate verbs by single commas")
    if not then_args.strip():
        return tuple(Step(verb, {}) for verb in verbs)
    parts = _parts(then_args)
    if len(parts) == 1 and isinstance(parts[0], list):
        parts = parts[0]
    elif len(parts) == 1 and _by_verb(parts[0], verbs):
        parts = [parts[0].get(verb, {}) for verb in verbs]
    if len(parts) != len(verbs):
        raise InputError(
            f"--thenArgs has {len(parts)} part(s) for {len(verbs)} verb(s) ({', '.join(verbs)}); "
            "give one JSON object per verb, separated by semicolons"
        )
    return tuple(Step(verb, _object(part, verb)) for verb, part in zip(verbs, parts, strict=True))


def public_args(then: str, then_args: str) -> str:
    """The text of ``--thenArgs`` without logins, for documents; as it was written where it holds none.

    Raises
    ------
    InputError : as :func:`parse_then`
    """
    steps = parse_then(then, then_args)
    if not any(step.args.keys() & _SECRET_ARGS for step in steps):
        return then_args
    return ";".join(
        json.dumps({name: value for name, value in step.args.items() if name not in _SECRET_ARGS}) for step in steps
    )


def _by_verb(part: object, verbs: tuple[str, ...]) -> bool:
    """Whether an object is a mapping from verbs: its keys are verbs of this chain, its values objects."""
    return (
        isinstance(part, dict)
        and bool(part)
        and part.keys() <= set(verbs)
        and all(isinstance(value, dict) for value in part.values())
    )


def _parts(text: str) -> list[Any]:
    """The JSON values of `text`, separated by semicolons; ``{}`` for an empty part. A semicolon in a string is none."""
    decoder = json.JSONDecoder()
    parts: list[Any] = []
    rest = text.lstrip()
    while True:
        if rest.startswith(";") or not rest:
            parts.append({})
        else:
            try:
                value, end = decoder.raw_decode(rest)
            except (ValueError, RecursionError) as error:
                raise InputError(f"--thenArgs, part {len(parts) + 1}: not JSON ({error})") from None
            parts.append(value)
            rest = rest[end:].lstrip()
        if not rest:
            return parts
        if not rest.startswith(";"):
            raise InputError(f"--thenArgs: {rest[:40]!r} follows part {len(parts)}; separate parts by semicolons")
        rest = rest[1:].lstrip()


def _object(part: object, verb: str) -> Mapping[str, Any]:
    if part is None or part == "":
        return {}
    if not isinstance(part, dict):
        raise InputError(f"--thenArgs for {verb}: expected a JSON object, got {json.dumps(part)[:80]}")
    return part

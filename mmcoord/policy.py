"""What is published without asking a person: the operator's rules, read from one file. Pure.

::

    [[rule]]
    name = "sure neutron stars"
    sinks = ["hermes"]            # names of sinks; "*": all
    action = "send"               # send; hold: wait for a person; never
    messengers = ["GW"]
    classes = { BNS = 0.5, NSBH = 0.5 }   # one of them is at least so probable
    max_far_hz = 1e-9
    min_p_kilonova = 0.9          # of the first target
    significant = true

Of the rules that name the sink, the first whose every condition holds decides. A condition on
what is not known does not hold. Where no rule decides, a public sink waits for a person and a
private one (a group's own TOM, channel or folder) sends.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from mmcoord.errors import ConfigError

__all__ = ["Action", "Facts", "Policy", "Rule", "Verdict", "decide", "load_policy"]

_MAX_RULES = 200


class Action(StrEnum):
    """What becomes of a message."""

    SEND = "send"
    HOLD = "hold"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules may ask about a plan; None is not known."""

    messenger: str
    alert_type: str
    significant: bool | None = None
    classification: Mapping[str, float] = field(default_factory=dict)
    far_hz: float | None = None
    area_90_deg2: float | None = None
    distance_mpc: float | None = None
    p_kilonova: float | None = None
    """Of the first target."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; a condition that is not given always holds."""

    name: str
    sinks: tuple[str, ...]
    action: Action
    messengers: tuple[str, ...] = ()
    alert_types: tuple[str, ...] = ()
    classes: Mapping[str, float] = field(default_factory=dict)
    significant: bool | None = None
    max_far_hz: float | None = None
    max_area_90_deg2: float | None = None
    max_distance_mpc: float | None = None
    min_p_kilonova: float | None = None

    def holds(self, facts: Facts) -> bool:
        """Whether every condition is known to hold."""
        return (
            (not self.messengers or facts.messenger in self.messengers)
            and (not self.alert_types or facts.alert_type in self.alert_types)
            and (
                not self.classes
                or any(facts.classification.get(k, -1.0) >= p for k, p in self.classes.items())
            )
            and (self.significant is None or facts.significant is self.significant)
            and _at_most(facts.far_hz, self.max_far_hz)
            and _at_most(facts.area_90_deg2, self.max_area_90_deg2)
            and _at_most(facts.distance_mpc, self.max_distance_mpc)
            and (
                self.min_p_kilonova is None
                or (facts.p_kilonova is not None and facts.p_kilonova >= self.min_p_kilonova)
            )
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in the operator's order."""

    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a message, and why."""

    action: Action
    why: str


def decide(policy: Policy, facts: Facts, sink: str, *, is_public: bool) -> Verdict:
    """What the rules say of telling ``sink``."""
    for rule in policy.rules:
        if (sink in rule.sinks or "*" in rule.sinks) and rule.holds(facts):
            return Verdict(rule.action, f"rule {rule.name!r}")
    if is_public:
        return Verdict(Action.HOLD, "public, and no rule lets it out: a person approves")
    return Verdict(Action.SEND, "")


def load_policy(path: str) -> Policy:
    """Rules of a file; none where ``path`` is empty.

    Raises
    ------
    ConfigError
        Unreadable, or a rule that is wrong; the message says which and why.
    """
    if not path:
        return Policy()
    try:
        document = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"policy: {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"policy: {path}: {error}") from error
    listed = document.pop("rule", [])
    if document:
        raise ConfigError(f"policy: {path}: unknown key {sorted(document)[0]!r}; known: rule")
    if not isinstance(listed, list) or len(listed) > _MAX_RULES:
        raise ConfigError(f"policy: {path}: rule: a list of at most {_MAX_RULES} tables")
    return Policy(tuple(_rule(item, f"policy: {path}: rule {n}") for n, item in enumerate(listed)))


def _rule(item: Any, where: str) -> Rule:
    if not isinstance(item, dict):
        raise ConfigError(f"{where}: expected a table")
    known = {one.name for one in fields(Rule)}
    if unknown := sorted(set(item) - known):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for key, value in item.items():
        values[key] = _value(key, value, where)
    try:
        return Rule(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {str(error).partition(') ')[2]}") from error


def _value(key: str, value: Any, where: str) -> Any:
    """A rule's value, of the type that the key wants."""
    if key == "action":
        if value not in set(Action):
            raise ConfigError(f"{where}: action: {value!r} is none of {', '.join(Action)}")
        return Action(value)
    if key in ("sinks", "messengers", "alert_types"):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ConfigError(f"{where}: {key}: expected a list of names")
        return tuple(value)
    if key == "classes":
        if not isinstance(value, dict) or not all(_is_number(one) for one in value.values()):
            raise ConfigError(f"{where}: classes: expected names with probabilities")
        return {name: float(one) for name, one in value.items()}
    if key == "name":
        wanted = isinstance(value, str)
    elif key == "significant":
        wanted = isinstance(value, bool)
    else:
        wanted = _is_number(value)
    if not wanted:
        raise ConfigError(f"{where}: {key}: {value!r} cannot be used")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _at_most(value: float | None, limit: float | None) -> bool:
    return limit is None or (value is not None and value <= limit)

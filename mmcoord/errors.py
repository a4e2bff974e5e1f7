"""Every error that mmcoord raises on purpose, in one tree.

::

    MmcoordError
    ├── ConfigError          the operator's configuration is wrong; stop and say where
    ├── BadInput             what was received is wrong; park it in the dead letters, go on
    │   ├── BadNotice        a notice that cannot be read or contradicts itself
    │   ├── BadCandidate     a candidate with impossible values
    │   ├── BadPhotometry    a photometric point with impossible values
    │   └── BadModel         a model from others that is wrong or misbehaves
    ├── MissingPart          an optional library is not installed here
    ├── Retryable            the world is at fault for now; try again later
    │   ├── Busy             too much of it is asked for at a time
    │   └── NotThereYet      what was asked for is not there, and may appear
    ├── Refused              a rule of ours forbids it (a practice event to a production sink)
    │   ├── NameTaken        the name belongs to somebody else
    │   ├── OverQuota        the group has used up its processor time
    │   └── NoSandbox        code from others cannot be confined here, so it is not run
    └── UnknownRecord        asked for something that is not in the store
        └── AmbiguousName    ... under a name that several have

``skymaps.SkyMapError`` stands beside this tree because ``skymaps`` imports nothing of
ours; the intake stage translates it to :class:`BadNotice`.
"""

__all__ = [
    "AmbiguousName",
    "BadCandidate",
    "BadInput",
    "BadModel",
    "BadNotice",
    "BadPhotometry",
    "Busy",
    "ConfigError",
    "MissingPart",
    "MmcoordError",
    "NameTaken",
    "NoSandbox",
    "NotThereYet",
    "OverQuota",
    "Refused",
    "Retryable",
    "UnknownRecord",
]


class MmcoordError(Exception):
    """Base of every deliberate error."""


class ConfigError(MmcoordError):
    """The configuration cannot be used; the message names the file and key."""


class BadInput(MmcoordError):
    """Received data that cannot be used.

    ``where`` names the place inside the message (a field, a line), so that the dead
    letter says what and where.
    """

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class BadNotice(BadInput):
    """A notice that cannot be read."""


class BadCandidate(BadInput):
    """A candidate that cannot be used."""


class BadPhotometry(BadInput):
    """A photometric point that cannot be used."""


class BadModel(BadInput):
    """A model from others that cannot be used: its file is wrong, or it misbehaved when run."""


class MissingPart(MmcoordError):
    """What was asked for needs a library that is not installed; the message names its extra."""


class Retryable(MmcoordError):
    """A passing fault outside (network, database lock); the same action may work later."""


class Busy(Retryable):
    """More is asked for than can be made just now, or it took too long."""


class NotThereYet(Retryable):
    """The service answers, but has no such file so far."""


class Refused(MmcoordError):
    """A safety rule forbids the action; it is recorded and never retried."""


class NameTaken(Refused):
    """The name belongs to somebody else."""


class OverQuota(Refused):
    """Nothing is left of a group's quota; time brings it back."""


class NoSandbox(Refused):
    """Code from others cannot be confined on this machine, therefore it is not run at all."""


class UnknownRecord(MmcoordError):
    """No such record."""


class AmbiguousName(UnknownRecord):
    """Several events go by the name; ``event_ids`` are all of them."""

    def __init__(self, name: str, event_ids: list[str]) -> None:
        super().__init__(f"{name!r} stands for several events: {', '.join(event_ids)}")
        self.event_ids = event_ids

"""What is known of whoever asks: a person with a token of their own, or the holder of the service's single one."""

from __future__ import annotations

from dataclasses import dataclass, replace

PERSON, ADMINISTRATOR = "person", "administrator"
ROLES = (PERSON, ADMINISTRATOR)
INTERACTIVE, BATCH = "interactive", "batch"
PRIORITIES = (INTERACTIVE, BATCH)
"""Of tasks, the first before the second."""
HOUSE = "administrator"
"""The name of whoever has the single token, and of those whose tasks came in before there were names."""


@dataclass(frozen=True)
class Caller:
    """`share` is how many turns one gets for another's one while both wait; `daily_limit` results a day, None without
    an end; `end` the last day on which the token counts, such as "2027-03-31", or None. `digest` tells the token from
    another of the same name; "" is the single one."""

    name: str = HOUSE
    role: str = ADMINISTRATOR
    share: float = 1.0
    priority: str = INTERACTIVE
    daily_limit: int | None = None
    end: str | None = None
    digest: str = ""

    @property
    def is_administrator(self) -> bool:
        return self.role == ADMINISTRATOR

    def may_see(self, person: str) -> bool:
        """Whether what is that person's is there for this one."""
        return self.is_administrator or self.name == person

    def at(self, priority: str) -> Caller:
        """The same, for one request, where its own priority is asked for, or a lower one."""
        is_lower = priority in PRIORITIES and PRIORITIES.index(priority) > PRIORITIES.index(self.priority)
        return replace(self, priority=priority) if is_lower else self

    def has_ended(self, today: str) -> bool:
        return self.end is not None and self.end < today


THE_HOUSE = Caller()

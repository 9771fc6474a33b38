"""Many tenants in one settings file, and the one that a command is for.

What one tenant has, no other may have: its id, since that is what its records are told by; its
namespace, since everything in a namespace has one mapping, one limit and one retention, and is read
by whoever may read it; its state; and its name, which is what people call it by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from aquila_mde.settings.parts import HuntingSettings, StreamSettings, TenantSettings


def _place(value: object) -> object:
    if not isinstance(value, str | Path) or not Path(value).name:
        raise ValueError("must be the path of a file, or elasticsearch")
    return value


Place = Literal["elasticsearch"] | Path
"""Where a state is kept."""
State = Annotated[Place, BeforeValidator(_place)]
DEFAULT_STATE = Path("aquila-state.sqlite3")


class ListedTenant(TenantSettings):
    """One of several tenants, and what is otherwise for it than for the rest."""

    streams: dict[str, StreamSettings] = Field(default_factory=dict)
    hunting: HuntingSettings | None = None
    state: State | None = None
    """None: beside the state that is named for all, by the id of the tenant."""
    _instead: ClassVar[str] = ""

    def alone(self) -> TenantSettings:
        """The tenant without what is said for its streams."""
        return TenantSettings(**{name: getattr(self, name) for name in TenantSettings.model_fields})

    def state_beside(self, shared: Place) -> Place:
        """Where its state is kept, when ``shared`` is where those of all are."""
        if self.state is not None:
            return self.state
        if shared == "elasticsearch":
            return shared
        return shared.with_name(f"{shared.stem}-{self.id.lower()}{shared.suffix}")

    def streams_over(self, shared: dict[str, StreamSettings]) -> dict[str, StreamSettings]:
        """The settings of its streams: key by key its own, and then what is said for all."""
        merged = dict(shared)
        for name, own in self.streams.items():
            merged[name] = shared.get(name, StreamSettings()).model_copy(update=_said(own))
        return merged

    def hunting_over(self, shared: HuntingSettings) -> HuntingSettings:
        """The same of hunting."""
        return shared if self.hunting is None else shared.model_copy(update=_said(self.hunting))


def _said(part: StreamSettings | HuntingSettings) -> dict[str, object]:
    return {name: getattr(part, name) for name in part.model_fields_set}


def refuse_what_they_share(tenants: Sequence[ListedTenant], state: Place) -> None:
    """Raise :class:`ValidationError` for each tenant that has what another one has already."""
    found: list[InitErrorDetails] = []
    first: dict[tuple[str, object], int] = {}
    for number, tenant in enumerate(tenants):
        for key, value_of, why in _OF_ONE_TENANT:
            value = value_of(tenant, state)
            other = first.setdefault((key, value), number)
            if value is None or other == number:
                continue
            message = f"is the same as that of tenants[{other}]: {why}"
            kind = PydanticCustomError("shared", message)
            location = ("tenants", number, key)
            found.append(InitErrorDetails(type=kind, loc=location, input=None))
            if key == "id":
                # The same tenant twice: what else is the same follows from that.
                break
    if found:
        raise ValidationError.from_exception_data("tenants", found)


_Value = Callable[[ListedTenant, Place], object]
_OF_ONE_TENANT: tuple[tuple[str, _Value, str], ...] = (
    ("id", lambda each, _: each.id.lower(), "a tenant is collected once"),
    (
        "name",
        lambda each, _: each.name and each.name.lower(),
        "logs, metrics and --tenant tell tenants by their names",
    ),
    (
        "namespace",
        lambda each, _: each.namespace,
        "give each tenant a namespace of its own, so that its data streams, with their access, "
        "limits and retention, are its own",
    ),
    (
        "state",
        lambda each, state: (
            place.absolute() if isinstance(place := each.state_beside(state), Path) else None
        ),
        "each tenant needs a state file of its own",
    ),
)

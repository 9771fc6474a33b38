"""What a file of ``package/hunting/`` says: one question, and the query that answers it.

The file is the only description. Kibana's saved searches and the page in ``docs/`` are both made
from it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aquila_mde.dashboards.filters import FilterError, parse_filter
from aquila_mde.dashboards.spec import FieldName, Span

Language = Literal["kql", "esql"]
LANGUAGES: dict[Language, str] = {"kql": "KQL", "esql": "ES|QL"}
"""How people write the languages."""
Technique = Annotated[str, Field(pattern=r"^T\d{4}(\.\d{3})?$")]


class Question(BaseModel):
    """One file of ``package/hunting/``; its name is the name of the question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    question: str = Field(pattern=r"\?$")
    """What is asked, as a person asks it."""
    why: str = Field(min_length=1)
    """Why somebody should ask."""
    then: str = Field(min_length=1)
    """What to look at in the answer, and what to do with it."""
    order: int
    language: Language
    stream: Annotated[str, Field(pattern=r"^[a-z_]+$")] | None = None
    """The data stream that a KQL query searches; ES|QL names it behind ``FROM``."""
    latest: bool = False
    """Whether KQL searches the newest version of each thing, and not the stream."""
    columns: tuple[FieldName, ...] = ()
    """What Discover shows of each record that a KQL query finds."""
    query: str = Field(min_length=1)
    """Without a range of time: that is chosen in Kibana, and is ``last`` at first."""
    last: Span | None = None
    """Not for KQL over newest versions, which are shown whatever their time."""
    techniques: tuple[Technique, ...] = ()
    """What of MITRE ATT&CK the question is about."""

    @model_validator(mode="after")
    def _fits_its_language(self) -> Self:
        if self.language == "esql":
            if self.stream is not None or self.columns or self.latest:
                raise ValueError("has stream, latest or columns, which an ES|QL query names itself")
            if self.last is None:
                raise ValueError("has no last, which ES|QL needs")
            return self
        if self.stream is None or not self.columns:
            raise ValueError("has no stream or no columns, which KQL needs")
        if self.latest == (self.last is not None):
            raise ValueError("has either last or latest, which is of no time")
        try:
            parse_filter(self.query)
        except FilterError as error:
            raise ValueError(f"the query {error}") from None
        return self

"""What differs between one real tenant and the next; each can be switched on or off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True)
class Quirks:
    """The service's habits. The defaults are the documented or the commonly reported ones."""

    next_link: Literal["missing", "given"] = "missing"
    """Whether an answer to a request with ``$top`` says where the rest is. Without ``$top`` the
    service cuts the page itself and always says it."""
    next_link_host: str | None = None
    """``host[:port]`` that next links name instead of the one that was asked."""
    above_cap: Literal["cut", "refuse"] = "cut"
    """What happens to a ``$top`` above the largest page."""
    page_cap: int | None = None
    """Largest page of every collection; none: the documented one of each endpoint."""
    skip_cap: int = 10_000
    """A ``$skip`` above it is refused with 400."""
    actions_by_update_time: bool = True
    """Whether ``$filter`` on machine actions takes lastUpdateDateTimeUtc, which is not
    documented."""
    expand_fails_above: int | None = None
    """A page with more alerts than this is answered with 500 when evidence is expanded."""
    no_machines: Literal["404", "empty"] = "404"
    """The answer when no machine matches."""
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    """What a 429 says about the time to wait."""
    late_share: float = 0.1
    """Share of alert versions that become visible only some time after their lastUpdateTime."""
    late_by: timedelta = timedelta(minutes=90)
    """The longest such delay."""
    equal_times: int = 0
    """Number of alerts at the start that all have one and the same lastUpdateTime."""
    export_casing: Literal["pascal", "camel", "mixed"] = "pascal"
    """How export files spell the property names; mixed: by file."""
    changes_casing: Literal["camel", "pascal"] = "camel"
    """How the changes of vulnerabilities spell them."""
    changes_next_link: Literal["given", "missing"] = "given"
    """Whether a page of these changes says where the next one is."""
    bad_export_lines: int = 0
    """Lines of the first export file that are cut in the middle."""
    directory_delay: timedelta = timedelta(seconds=2)
    """How long an application or a principal that was just made cannot be found."""
    credential_delay: timedelta = timedelta(seconds=3)
    """How long a secret or certificate that was just added does not sign in."""
    hunting_rows_per_hour: int = 12
    """Rows of each hunting table in an hour that no shipped query looks for."""
    hunting_row_limit: int = 100_000
    """Rows after which the answer to a hunting query is cut, without a word."""
    hunting_size_limit: int = 124 << 20
    """Bytes above which the answer to a hunting query is refused."""
    hunting_times_out_above: int | None = None
    """A hunting query that looks at more rows than this takes too long."""
    hunting_refused_above: int | None = None
    """A hunting query that looks at more rows than this costs too much."""
    hunting_late_by: timedelta = timedelta(minutes=20)
    """The longest time until a hunting row becomes visible; ``late_share`` of them are late."""
    sign_in_interval: int = 5
    """Seconds that who waits for a code to be typed has to leave between two questions."""

"""Query parameters and headers, read strictly: what is unknown, repeated or misspelt is refused, never ignored."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from coordinator.api.problems import Fault, RequestRefused, invalid
from coordinator.errors import NotFound
from coordinator.saga.model import SagaStatus
from coordinator.wire.rfc3339 import parse_ms

QUERY_FIELDS_MAX = 50
EARLIEST_MS: Final = 946_684_800_000  # the year 2000
LATEST_MS: Final = 4_102_444_800_000  # the year 2100

_STATUSES = frozenset(status.value for status in SagaStatus)
SAGA_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,62}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_STEP = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_ETAG = re.compile(r'"([1-9][0-9]{0,8})"', re.ASCII)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


class Query:
    """The query of a request, with only these parameters; `repeatable` ones may come more than once.

    Pairs that stand elsewhere are read in the same way.
    """

    def __init__(
        self,
        source: Request | Iterable[tuple[str, str]],
        known: Collection[str] = (),
        repeatable: Collection[str] = (),
    ) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in _pairs(source.scope["query_string"]) if isinstance(source, Request) else source:
            if name not in known:
                allowed = ", ".join(sorted(known)) or "none"
                raise _refused(name[:100], f"there is no such parameter here; known are: {allowed}")
            values = self._values.setdefault(name, [])
            values.append(value)
            if len(values) > 1 and name not in repeatable:
                raise _refused(name, "may be given once only")

    def text(self, name: str) -> str | None:
        """One value, or None."""
        values = self._values.get(name)
        return None if values is None else values[0]

    def number(self, name: str, *, default: int, lowest: int, highest: int) -> int:
        """A whole number in ASCII digits."""
        text = self.text(name)
        if text is None:
            return default
        if not _NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
            raise _refused(name, f"must be a whole number from {lowest} to {highest}")
        return int(text)

    def number_or_none(self, name: str, *, lowest: int, highest: int) -> int | None:
        """A whole number in ASCII digits; None when none is given."""
        return None if self.text(name) is None else self.number(name, default=lowest, lowest=lowest, highest=highest)

    def moment_ms(self, name: str) -> int | None:
        """An RFC 3339 moment with its zone."""
        text = self.text(name)
        if text is None:
            return None
        try:
            moment_ms = parse_ms(text[:64])
        except ValueError as error:
            hint = " (write + as %2B in a URL)" if " " in text else ""
            raise _refused(name, f"{error}{hint}") from None
        if not EARLIEST_MS <= moment_ms < LATEST_MS:
            raise _refused(name, "must lie in the years 2000 to 2099")
        return moment_ms

    def statuses(self, name: str) -> tuple[str, ...] | None:
        """Words for a saga's status, sorted; None when none is given."""
        values = self._values.get(name)
        if values is None:
            return None
        if not _STATUSES.issuperset(values):
            raise _refused(name, f"must be one of: {', '.join(SagaStatus)}")
        return tuple(sorted(set(values)))

    def definition(self, name: str) -> str | None:
        """A definition's name."""
        text = self.text(name)
        if text is not None and not _NAME.fullmatch(text):
            raise _refused(name, "is no definition's name: CamelCase letters and digits")
        return text

    def business_key(self, name: str) -> str | None:
        """A business key, taken literally."""
        text = self.text(name)
        if text is not None and not (1 <= len(text) <= 200 and text.isprintable()):
            raise _refused(name, "a business key is 1 to 200 printable characters")
        return text

    def flag(self, name: str) -> bool:
        """`true` or `false`; false when it is left out."""
        text = self.text(name)
        if text not in (None, "true", "false"):
            raise _refused(name, "must be true or false")
        return text == "true"

    def choice(self, name: str, known: Collection[str]) -> str | None:
        """One word of these."""
        text = self.text(name)
        if text is not None and text not in known:
            raise _refused(name, f"must be one of: {', '.join(known)}")
        return text

    def printable(self, name: str, longest: int) -> str | None:
        """Some text, taken literally."""
        text = self.text(name)
        if text is not None and not (1 <= len(text) <= longest and text.isprintable()):
            raise _refused(name, f"must be 1 to {longest} printable characters")
        return text

    def saga_id(self, name: str) -> str | None:
        """A saga's id."""
        text = self.text(name)
        if text is not None and not SAGA_ID.fullmatch(text):
            raise _refused(name, "is no saga's id: a UUID in lower case")
        return text

    def all(self, name: str) -> list[str]:
        """Every value of a parameter that may be repeated."""
        return self._values.get(name, [])

    def word(self, name: str, pattern: re.Pattern[str], otherwise: str) -> str | None:
        """A word of a pattern; `otherwise` is said of one that is not."""
        text = self.text(name)
        if text is not None and not pattern.fullmatch(text):
            raise _refused(name, otherwise)
        return text

    def fields(self, known: Collection[str]) -> frozenset[str] | None:
        """The members of an answer that are wanted, of those that there are; None for what is usual."""
        return None if self.text("fields") is None else frozenset(self.words("fields", known))

    def words(self, name: str, known: Collection[str]) -> set[str]:
        """Words from a list, separated by commas."""
        text = self.text(name)
        chosen = set() if text is None else set(text.split(","))
        if not chosen <= set(known):
            raise _refused(name, f"must be of: {', '.join(sorted(known))}")
        return chosen


def saga_id(request: Request) -> str:
    """The saga id of the path; what cannot be one is not found."""
    text: str = request.path_params["saga_id"]
    if not SAGA_ID.fullmatch(text):
        raise NotFound("there is no saga with this id")
    return text


def definition_version(request: Request) -> tuple[str, int]:
    """The definition's name and version of the path; what cannot be one is not found."""
    name, version = request.path_params["name"], request.path_params["version"]
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise NotFound("there is no such version of a definition")
    return name, int(version)


def operation_id(request: Request) -> str:
    """The id of a batch operation in the path; what cannot be one is not found."""
    text: str = request.path_params["operation_id"]
    if not SAGA_ID.fullmatch(text):
        raise NotFound("there is no batch operation with this id")
    return text


def step_name(request: Request) -> str:
    """The step of the path; what cannot be one is not found."""
    text: str = request.path_params["step"]
    if not _STEP.fullmatch(text):
        raise NotFound("there is no step of this name")
    return text


def moment_ms(text: str, pointer: str) -> int:
    """An RFC 3339 moment of a body, with its zone."""
    try:
        moment = parse_ms(text)
    except ValueError as error:
        raise invalid(Fault(str(error), pointer)) from None
    if not EARLIEST_MS <= moment < LATEST_MS:
        raise invalid(Fault("must lie in the years 2000 to 2099", pointer))
    return moment


def version_condition(request: Request) -> int | None:
    """The version that If-Match names, or None."""
    values = request.headers.getlist("if-match")
    if not values:
        return None
    match = _ETAG.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        detail = 'must be one ETag of a saga, such as "7"'
        raise RequestRefused(422, "invalid-input", f"If-Match {detail}", [Fault(detail, header="If-Match")])
    return int(match[1])


def idempotency_key(request: Request) -> str | None:
    """The key under which the answer is kept, or None; raises RequestRefused for one that makes no sense."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not 1 <= len(key) <= 255 or not (key.isascii() and key.isprintable()):
        detail = "must be given once, as 1 to 255 printable ASCII characters"
        fault = Fault(detail, header="Idempotency-Key")
        raise RequestRefused(422, "invalid-input", f"Idempotency-Key {detail}", [fault])
    return key


def check_idempotency_key(request: Request) -> None:
    """Take a key that makes sense; what it is for is done around the endpoint."""
    idempotency_key(request)


def traceparent(request: Request) -> str | None:
    """The W3C trace context: ours of this request, else what was given, unless it makes no sense."""
    ours: str | None = request.scope["state"].get("traceparent")
    if ours is not None:
        return ours
    values = request.headers.getlist("traceparent")
    return values[0] if len(values) == 1 and _TRACEPARENT.fullmatch(values[0]) else None


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    except UnicodeDecodeError:
        raise invalid(Fault("the query is not UTF-8")) from None
    except ValueError:
        raise invalid(Fault(f"the query has more than {QUERY_FIELDS_MAX} parameters")) from None


def _refused(name: str, detail: str) -> RequestRefused:
    return RequestRefused(422, "invalid-input", f"{name}: {detail}", [Fault(detail, parameter=name)])

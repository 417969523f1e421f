"""Pages of a list that grows for ever: the next begins after the last row seen, not at a number.

So the hundredth page costs what the first does, and rows that come meanwhile shift nothing. The
place is in the address as `before`, an instant and an id; what an operator filters by stays.
"""

import datetime as dt
from typing import Any
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from usage import replica
from usage.core.figures import duration
from usage.models import LedgerEntry

PLACE = "before"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class KeysetPaginator(InfinitePaginator):
    """One page: where it begins is in the query."""

    template_name = "admin/console/pages_keyset.html"


class KeysetList(ChangeList):
    """Ledger entries from a place on, the newest first."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        found.pop(PLACE, None)
        return found

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        found = super().get_queryset(request, *args, **kwargs)
        place = request.GET.get(PLACE)
        return after(found, *_place(place)) if place else found

    def get_results(self, request: HttpRequest) -> None:
        self.page_num = 1
        replica.read(lambda: self._read(request))
        self.full_result_count = self.result_count  # No page says a count that is none.
        self.newest_url = self.get_query_string(remove=[PLACE]) if PLACE in request.GET else ""
        self.older_url = ""
        if len(self.result_list) == self.list_per_page:
            last = self.result_list[-1]
            self.older_url = self.get_query_string({PLACE: place_of(last)})

    def _read(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        age_s = replica.shown_age_s()
        self.age = duration(age_s) if age_s else ""


def after(entries: QuerySet[Any], settled_at: dt.datetime, exchange_id: UUID) -> QuerySet[Any]:
    """Return those that come after this place, the newest first."""
    # The first condition says nothing new; it is the one that Postgres finds in the index.
    return entries.filter(settled_at__lte=settled_at).filter(
        Q(settled_at__lt=settled_at) | Q(settled_at=settled_at, exchange_id__lt=exchange_id)
    )


def place_of(entry: LedgerEntry) -> str:
    """Return the place of an entry, for an address."""
    return f"{(entry.settled_at - _EPOCH) // dt.timedelta(microseconds=1)}-{entry.pk.hex}"


def _place(text: str) -> tuple[dt.datetime, UUID]:
    microseconds, _, exchange_id = text.partition("-")
    try:
        return _EPOCH + dt.timedelta(microseconds=int(microseconds)), UUID(exchange_id)
    except (ValueError, OverflowError) as error:
        raise IncorrectLookupParameters from error

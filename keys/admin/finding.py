"""Finds keys by what people type: part of a name, last four, a prefix, an owner, a team.

Bounded whatever is typed: so many keys are found as a list counts, through indexes alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from keys.core.secret import MARK, PREFIX_LENGTH
from keys.models import ApiKey, Team

# What a name may match before the search is too wide to be meant.
HOLDERS_MAX = 100
# The index of parts of names knows threes of letters; of fewer, how a name begins.
PART_LENGTH_MIN = 3


def find(keys: QuerySet[ApiKey], term: str, most: int) -> list[int]:
    """Return the ids of at most `most` of the keys that `term` finds, in no order."""
    term = term.strip()
    if term.startswith(MARK):
        return ids_of(keys.filter(prefix=term[:PREFIX_LENGTH]), most)
    part = "name__icontains" if len(term) >= PART_LENGTH_MIN else "name__istartswith"
    owners = User.objects.filter(username__icontains=term)
    teams = Team.objects.filter(name__icontains=term)
    # As numbers, so that Postgres sees how few they are and takes the index.
    holders = Q(owner__in=ids_of(owners, HOLDERS_MAX)) | Q(team__in=ids_of(teams, HOLDERS_MAX))
    with by_bitmaps():
        return ids_of(keys.filter(Q(**{part: term}) | Q(last_four=term) | holders), most)


@contextmanager
def by_bitmaps() -> Iterator[None]:
    """Have Postgres look into indexes: it takes rare parts of names for common ones, and would
    read the table in the hope to find enough soon.
    """
    others = ("enable_seqscan", "enable_indexscan", "enable_indexonlyscan")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("; ".join(f"SET LOCAL {name} = off" for name in others))
        yield
        cursor.execute("; ".join(f"SET LOCAL {name} = on" for name in others))


def ids_of(rows: QuerySet, most: int) -> list[int]:
    """Return the ids of at most `most` of the rows, in no order."""
    return list(rows.order_by().values_list("pk", flat=True)[:most])

"""Whether Postgres and Valkey answer, for pages that must be there without them."""

import logging
from collections.abc import Callable

import psycopg
from django.conf import settings
from django.db import DatabaseError, connection
from redis import RedisError

from keys import valkey
from portal.remembered import Remembered

AGE_S_MAX = 3.0
# The least that libpq keeps to.
CONNECT_SECONDS_MAX = 2

logger = logging.getLogger(__name__)


def _answers(name: str, ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (DatabaseError, psycopg.Error, RedisError, OSError) as error:
        # What exactly is no reader's business: the text of such an error can hold addresses.
        logger.warning("%s does not answer: %s", name, type(error).__name__)
        return False
    return True


def _ask_postgres() -> None:
    # A server that is frozen lets who is connected wait for ever, and refuses the next in time.
    psycopg.connect(settings.DATABASE_URL, connect_timeout=CONNECT_SECONDS_MAX).close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


postgres_answers = Remembered(lambda: _answers("postgres", _ask_postgres), AGE_S_MAX)
valkey_answers = Remembered(lambda: _answers("valkey", valkey.client().ping), AGE_S_MAX)

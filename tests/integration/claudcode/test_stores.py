"""The addresses that the settings make of the two URLs reach real servers."""

import pytest
import redis
from django.contrib.auth.models import User
from django.core.cache import cache


@pytest.mark.django_db
def test_django_writes_to_postgres():
    User.objects.create_user("operator")
    assert User.objects.get().username == "operator"


def test_djangos_cache_is_in_valkey(valkey: redis.Redis):
    cache.set("answer", 42, timeout=60)
    assert valkey.keys() == [b"django:1:answer"]

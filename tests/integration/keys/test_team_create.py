import pytest
from django.core.management import CommandError, call_command

from keys.models import Team
from tests.factories import a_team

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engines")]


def test_a_team_without_arguments_limits_nothing(capsys):
    call_command("team_create", "--name", "research")
    team = Team.objects.get()
    assert (team.rpm, team.concurrency, team.budgets.count()) == (None, None, 0)
    assert "research" in capsys.readouterr().out


def test_limits():
    call_command("team_create", "--name", "research", "--rpm", "600", "--usd", "500/30d")
    team = Team.objects.get()
    assert team.rpm == 600
    assert str(team.budgets.get()) == "500.00 USD / 30d"


def test_the_cache():
    call_command("team_create", "--name", "research", "--no-cache", "--share-cache")
    team = Team.objects.get()
    assert (team.cache_enabled, team.cache_shared) == (False, True)


def test_a_name_that_is_taken_is_refused():
    a_team(name="research")
    with pytest.raises(CommandError, match="already exists"):
        call_command("team_create", "--name", "research")

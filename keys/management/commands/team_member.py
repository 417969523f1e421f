"""`manage.py team_member TEAM USER add|lead|unlead|remove`: who is in a team, and who leads it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments
from keys.management.fields import find_user
from keys.management.rows import find_team
from keys.models import Membership
from keys.services import member_add, member_remove, member_update

_DONE = {
    "add": "is in",
    "lead": "leads",
    "unlead": "is in, and does not lead,",
    "remove": "is not in",
}


class Command(BaseCommand):
    """Moves a person into a team, to its lead, or out of it."""

    help = (
        "Put a person into a team (add), make them its lead (lead) or no longer (unlead), or take"
        " them out (remove). A lead also needs the role 'team lead': operator_set --role."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("team", help="name of the team")
        parser.add_argument("user", help="user name of the account")
        parser.add_argument("verb", choices=tuple(_DONE))

    def handle(self, *_args: Any, **options: Any) -> None:
        team, user, verb = find_team(options["team"]), find_user(options["user"]), options["verb"]
        try:
            if verb == "add":
                member_add(team=team, user=user, acting_user=None)
            else:
                member = Membership.objects.select_related("team", "user").get(team=team, user=user)
                _move(member, verb)
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        except Membership.DoesNotExist as error:
            raise CommandError(f"{user} is not in team {team}.") from error
        self.stdout.write(f"{user} {_DONE[verb]} team {team}.")


def _move(member: Membership, verb: str) -> None:
    if verb == "remove":
        member_remove(member=member, acting_user=None)
    else:
        member_update(member=member, lead=verb == "lead", acting_user=None)

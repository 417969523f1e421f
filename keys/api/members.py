"""The people in a team and who of them leads it, at `…/teams/3/members`."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Boolean, Id, Strict
from keys.models import Membership, Team


class MemberLead(Strict):
    """Whether the member may issue and manage the team's keys within its plan."""

    lead = Boolean()


class MemberAdd(Strict):
    """Who comes into the team."""

    user_id = Id(source="user", queryset=User.objects.all())
    lead = Boolean(default=False)


class MemberShown(serializers.Serializer[Membership]):
    """One person in the team."""

    id = serializers.IntegerField()
    user_id = serializers.IntegerField()
    username = serializers.CharField(source="user.username")
    lead = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class Members(ServiceViewSet):
    """The people in a team."""

    area = "teams"
    serializer_class = MemberShown
    order = ("pk",)

    def get_queryset(self) -> QuerySet[Membership]:
        if getattr(self, "swagger_fake_view", False):
            return Membership.objects.none()
        return self._team().memberships.select_related("user", "team")

    @extend_schema(request=MemberAdd, responses={201: MemberShown})
    def create(self, request: Request, **_path: Any) -> Response:
        """Put somebody into the team. Nobody is in it twice."""
        said = body(MemberAdd, request)
        added = services.member_add(team=self._team(), **said, **acting(request))
        return Response(self.reread(added.pk), status=201)

    @extend_schema(request=MemberLead, responses=MemberShown)
    def partial_update(self, request: Request, **_path: Any) -> Response:
        """Make a member the lead of the team, or no longer."""
        said, member = body(MemberLead, request), self.get_object()
        services.member_update(member=member, **said, **acting(request))
        return Response(self.reread(member.pk))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, **_path: Any) -> Response:
        """Take a member out of the team. Their keys stay: a key belongs to the team."""
        services.member_remove(member=self.get_object(), **acting(request))
        return Response(status=204)

    def _team(self) -> Team:
        team = Team.objects.filter(pk=self.kwargs["team_id"]).first()
        if team is None:
            raise Http404
        return team

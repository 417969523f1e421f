"""Addresses of usage in the browser."""

from django.urls import path, re_path

from usage.dashboard import sign_in, views

urlpatterns = [
    path("", views.home, name="usage_home"),
    path("sign-in/", sign_in.sign_in, name="usage_sign_in"),
    path("sign-out/", sign_in.sign_out, name="usage_sign_out"),
    path("now/", views.now, name="usage_now"),
    path("table/<slug:name>/", views.table, name="usage_table"),
    path("columns/<slug:name>/", views.columns, name="usage_columns"),
    path("session/<path:session_id>/", views.session, name="usage_session"),
    re_path(
        r"^export/(?P<name>[a-z-]{1,20})\.(?P<ending>csv|json)$",
        views.export,
        name="usage_export",
    ),
]

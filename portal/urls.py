"""Addresses of the pages for developers, below the root of the site."""

from django.urls import include, path

from portal import views

urlpatterns = [
    path("", views.home, name="portal_home"),
    path("docs/search.json", views.search_index, name="portal_search"),
    path("docs/<slug:slug>", views.document, name="portal_page"),
    path("docs/<slug:slug>.md", views.document_markdown, name="portal_markdown"),
    path("try", views.try_page, name="portal_try"),
    path("status", views.status_page, name="portal_status"),
    path("status.json", views.status_json, name="portal_status_json"),
    path("llms.txt", views.llms, name="portal_llms"),
    path("llms-full.txt", views.llms_full, name="portal_llms_full"),
    path("openapi.json", views.openapi_json, name="portal_openapi_json"),
    path("openapi.yaml", views.openapi_yaml, name="portal_openapi_yaml"),
    path("", include("portal.setup.urls")),
]

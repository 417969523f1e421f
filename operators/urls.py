"""Addresses of the sign-in; they come before the admin's, whose page for passwords one replaces."""

from django.contrib import admin
from django.urls import path

from operators import views

app_name = "operators"
urlpatterns = [
    path("sign-in/code/", admin.site.admin_view(views.code), name="code"),
    path("second-factor/", admin.site.admin_view(views.own_second_factor), name="second_factor"),
    path("password_change/", admin.site.admin_view(views.password_change), name="password_change"),
]

"""The pages for developers. Anyone may read them; a key's holder alone reads its prefix in them.

Every answer is filled in with the address that the reader used, which `ALLOWED_HOSTS` has checked,
so none may be kept for another address or another reader.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson
from csp.constants import SELF
from csp.decorators import csp_replace
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from portal import library, live, openapi
from portal.answer_headers import ANSWER_HEADERS
from portal.reader import reader_of
from portal.status import Incident, Part, Status, status

MARKDOWN, TEXT = "text/markdown; charset=utf-8", "text/plain; charset=utf-8"

View = Callable[..., HttpResponse]
Answer = Callable[..., HttpResponseBase]


def published(view: View) -> Answer:
    """Make `view` one for everybody: GET and HEAD, files of ours alone, kept for no one else."""

    @require_safe
    @csp_replace({"script-src": [SELF], "style-src": [SELF]})
    @wraps(view)
    def answer(request: HttpRequest, **found: Any) -> HttpResponse:
        response = view(request, **found)
        response["Cache-Control"] = "private, no-cache"
        patch_vary_headers(response, ("Host", "Cookie"))
        return response

    return answer


@published
def home(request: HttpRequest) -> HttpResponse:
    """Show the first page of the documentation."""
    return _document(request, library.pages()[0])


@published
def document(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one page of the documentation."""
    return _document(request, _page(slug))


@published
def document_markdown(request: HttpRequest, slug: str) -> HttpResponse:
    """Answer one page as Markdown."""
    text = library.as_markdown(_page(slug), live.tables(), reader_of(request))
    return HttpResponse(text, content_type=MARKDOWN)


@published
def search_index(request: HttpRequest) -> HttpResponse:
    """Answer what the search box looks through."""
    sections = orjson.dumps({"sections": library.search_index()}).decode()
    return HttpResponse(reader_of(request).fill(sections), content_type="application/json")


@published
def llms(request: HttpRequest) -> HttpResponse:
    """Answer the list of all pages, as llmstxt.org has it."""
    reader = reader_of(request)
    lines = [
        f"- [{p.title}]({reader.base_url}/docs/{p.slug}.md): {p.summary}" for p in library.pages()
    ]
    text = "\n".join(
        [
            "# ClaudCode",
            "",
            f"> A gateway to Anthropic's Claude. The base URL for clients: {reader.base_url}",
            "",
            "## Documentation",
            "",
            *lines,
            "",
            "## Optional",
            "",
            f"- [OpenAPI description of /v1]({reader.base_url}/openapi.yaml)",
            f"- [All pages in one]({reader.base_url}/llms-full.txt)",
            "",
        ]
    )
    return HttpResponse(reader.fill(text), content_type=TEXT)


@published
def llms_full(request: HttpRequest) -> HttpResponse:
    """Answer all pages as one Markdown text."""
    tables, reader = live.tables(), reader_of(request)
    texts = [library.as_markdown(page, tables, reader) for page in library.pages()]
    return HttpResponse("\n".join(texts), content_type=TEXT)


@published
def openapi_json(request: HttpRequest) -> HttpResponse:
    """Answer the description of `/v1` as JSON."""
    return HttpResponse(openapi.as_json(reader_of(request)), content_type="application/json")


@published
def openapi_yaml(request: HttpRequest) -> HttpResponse:
    """Answer the description of `/v1` as YAML."""
    return HttpResponse(openapi.as_yaml(reader_of(request)), content_type="application/yaml")


@published
def try_page(request: HttpRequest) -> HttpResponse:
    """Show the page that sends a prompt with the reader's key."""
    context = {
        "section": "try",
        "base_url": reader_of(request).base_url,
        "headers": ANSWER_HEADERS,
    }
    return render(request, "portal/try.html", context)


@published
def status_page(request: HttpRequest) -> HttpResponse:
    """Show whether the gateway works, and if not, what does not."""
    context = {
        "section": "status",
        "status": status(),
        "insider": request.user.has_perm("proxy.view_upstreamaccount"),
    }
    return render(request, "portal/status.html", context)


@published
def status_json(request: HttpRequest) -> HttpResponse:
    """Answer the same for programs."""
    insider = request.user.has_perm("proxy.view_upstreamaccount")
    return JsonResponse(_status_json(status(), insider=insider))


def _page(slug: str) -> library.Page:
    found = library.page(slug)
    if found is None:
        raise Http404("There is no such page.")
    return found


def _document(request: HttpRequest, page: library.Page) -> HttpResponse:
    context = {
        "section": "docs",
        "page": page,
        "pages": library.pages(),
        "body": library.as_html(page, live.tables(), reader_of(request)),
        "headings": [heading for heading in page.rendered.headings if heading.level == 2],
    }
    return render(request, "portal/document.html", context)


def _status_json(found: Status, *, insider: bool) -> dict[str, Any]:
    incidents = found.incidents
    return {
        "status": found.level,
        "summary": found.words,
        "looked_at": found.looked_at,
        "parts": [_part_json(part, insider=insider) for part in found.parts],
        "upstreams": [_part_json(part, insider=insider) for part in found.upstreams],
        "incidents": None
        if incidents is None
        else [_incident_json(incident, insider=insider) for incident in incidents],
    }


def _part_json(part: Part, *, insider: bool) -> dict[str, str]:
    said = {"name": part.name, "status": part.level, "summary": part.words, "detail": part.detail}
    return said | ({"account": part.private_name} if insider and part.private_name else {})


def _incident_json(incident: Incident, *, insider: bool) -> dict[str, Any]:
    said = {
        "began_at": incident.began_at,
        "ended_at": incident.ended_at,
        "summary": incident.words,
    }
    return said | ({"detail": incident.private_words} if insider and incident.private_words else {})

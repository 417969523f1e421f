"""App configuration."""

from django.apps import AppConfig


class WebToolsConfig(AppConfig):
    """Hosted web tools: search, extract, crawl and map, over MCP and as Tavily's own REST."""

    name = "webtools"
    verbose_name = "Web tools"

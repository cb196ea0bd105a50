"""The page: one HTML file with the avatar in it, alive."""

from likeness.exporters.page.export import Page

__all__ = ["Page"]

"""Check every link of the built pages that leads within them: to a file, and to a place in it.

    python -m tools.site.links site

Links to other hosts are not followed; scripts, styles and pictures from them are refused.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

ATTRIBUTES = {"a": "href", "link": "href", "img": "src", "script": "src"}


class Page(HTMLParser):
    """Links of a page, and the places that a link can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what matters of a tag."""
        found = {name: value or "" for name, value in attrs}
        self.places.update(found[name] for name in ("id", "name") if name in found)
        if link := found.get(ATTRIBUTES.get(tag, ""), ""):
            self.links.append((tag, link))


def broken(site: Path) -> list[str]:
    """A line for each link that leads nowhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    lines = []
    for path, page in pages.items():
        for tag, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if tag != "a" and parts.scheme != "data":
                    lines.append(f"{path.relative_to(site)}: {link}: loaded from elsewhere")
                continue
            # The page of errors may stand at any depth, so its links are of the host.
            start = site / parts.path.lstrip("/") if parts.path.startswith("/") else path.parent / unquote(parts.path)
            target = (path if not parts.path else start).resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                lines.append(f"{path.relative_to(site)}: {link}: no such file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                lines.append(f"{path.relative_to(site)}: {link}: no such place in that page")
    return lines


@click.command()
@click.argument("site", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(site: Path) -> None:
    """Check a built site."""
    lines = broken(site.resolve())
    for line in lines:
        click.echo(line)
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()

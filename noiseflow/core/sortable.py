"""Tables of HTML pages that are sorted at a click on a heading, by a script of the page itself.

A table with ``data-sort="rows"`` is sorted by the column, and one with ``data-sort="columns"`` by the row, whose
heading is clicked.  The script makes the headings buttons and shows what has the class ``sorts``, so that a page
without scripts and a page on paper promise nothing.
"""

__all__ = ["SORT_SCRIPT", "SORT_STYLE"]

SORT_STYLE = r"""th button{all:unset;cursor:pointer}th button:hover{text-decoration:underline dotted}
th button:focus-visible{outline:2px solid var(--link)}
thead th[aria-sort=ascending] button::after{content:"\a0↑"}thead th[aria-sort=descending] button::after{content:"\a0↓"}
tbody th[aria-sort=ascending] button::after{content:"\a0→"}tbody th[aria-sort=descending] button::after{content:"\a0←"}
@media print{.sorts{display:none}th button::after{content:none!important}}"""
"""CSS of the headings; an arrow points to the greater values."""

SORT_SCRIPT = r"""<script>
(() => {
  // The first number of a cell, or else its text; null where nothing was measured.  Names stay texts.
  const value = (cell, isName) => {
    const text = cell ? cell.textContent.trim().replace(/−/g, "-").replace(/,(?=\d{3})/g, "") : "";
    if (text === "" || text === "–") return null;
    const found = isName ? null : text.match(/-?\d+(\.\d+)?(e[+-]?\d+)?/);
    return found ? Number(found[0]) : text;
  };
  const names = new Intl.Collator("en", { numeric: true });
  // Missing values come last and texts after numbers, whatever the direction.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : names.compare(a, b));
  };
  const order = (cells, isName, sign) => {
    const values = cells.map(cell => value(cell, isName));
    return [...cells.keys()].sort((a, b) => compare(values[a], values[b], sign));
  };
  for (const table of document.querySelectorAll("table[data-sort]")) {
    const body = table.tBodies[0], top = table.tHead.rows[0], across = table.dataset.sort === "columns";
    if ((across ? top.cells.length - 1 : body.rows.length) < 2) continue;
    const heads = across ? [...body.rows].map(row => row.cells[0]) : [...top.cells];
    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(head.firstChild);
      head.prepend(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        if (across) {
          const places = order([...head.parentNode.cells].slice(1), false, sign);
          for (const row of [top, ...body.rows]) {
            const cells = [...row.cells].slice(1);
            row.append(...places.map(place => cells[place]));
          }
        } else {
          const rows = [...body.rows], column = head.cellIndex;
          const places = order(rows.map(row => row.cells[column]), column === 0, sign);
          body.append(...places.map(place => rows[place]));
        }
      });
    }
    for (const words of document.querySelectorAll(".sorts")) words.hidden = false;
  }
})();
</script>"""
"""The script, to stand after the tables."""

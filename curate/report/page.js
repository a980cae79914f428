"use strict";
// Click a column's head to sort by it; type to find a signal. The page is whole without both.
for (const head of document.querySelectorAll("table.sortable thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const table = head.closest("table");
    const body = table.tBodies[0];
    const at = head.cellIndex;
    const up = head.getAttribute("aria-sort") === "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent;
    const order = (a, b) => {
      const x = Number(value(a)), y = Number(value(b));
      const both = !Number.isNaN(x) && !Number.isNaN(y);
      return (both ? x - y : value(a).localeCompare(value(b))) * (up ? 1 : -1);
    };
    body.append(...[...body.rows].sort(order));
  });
}
const find = document.getElementById("find");
if (find) {
  find.hidden = false;
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    for (const card of document.querySelectorAll("[data-signal]")) {
      card.hidden = !card.dataset.signal.toLowerCase().includes(wanted);
    }
  });
}

"use strict";
// Tables that are sorted by a click on a column's name, rows that are searched, and the choice of light or dark.

const tables = [...document.querySelectorAll("table")].filter((table) => table.tHead && table.tBodies.length);

function valueOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number(text.replace(/,/g, "").replace(/[*%]$/, ""));
  return text === "" || text === "-" ? null : Number.isNaN(number) ? text : number;
}

// What is missing stands last in both directions; equal values keep their order.
function sort(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
  rows.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null);
    if (typeof one === "number" && typeof other === "number") return direction * (one - other);
    return direction * String(one).localeCompare(String(other), "ja");
  });
  body.append(...rows.map(([, row]) => row));
}

for (const table of tables) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    if (!cell.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const direction = cell.getAttribute("aria-sort") === "descending" ? 1 : -1;
      for (const other of cell.parentNode.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      sort(table, column, direction);
    });
  });
}

// Every word has to be in a row; a table without such a row keeps its head.
function search(words) {
  let shown = 0;
  for (const table of tables) {
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.normalize("NFKC").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
  }
  return shown;
}

const controls = document.getElementById("controls");
const box = controls.querySelector("input");
const count = controls.querySelector("output");
const theme = controls.querySelector("button");
box.addEventListener("input", () => {
  const words = box.value.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
  const shown = search(words);
  count.textContent = words.length ? `${shown} rows` : "";
});
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});
controls.hidden = false;

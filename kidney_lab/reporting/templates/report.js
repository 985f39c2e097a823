"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.querySelectorAll("thead th")];
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, { numeric: true }) : a - b);

  const sortBy = (index, direction) => {
    const value = (row) => row.cells[index].dataset.value;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return direction * compare(x, y);
    });
    table.tBodies[0].append(...rows);
    headings.forEach((heading, i) => {
      heading.setAttribute("aria-sort", i !== index ? "none" : direction > 0 ? "ascending" : "descending");
    });
  };

  headings.forEach((heading, index) => {
    heading.querySelector("button").addEventListener("click", () => {
      sortBy(index, heading.getAttribute("aria-sort") === "ascending" ? -1 : 1);
    });
  });
}

for (const filter of document.querySelectorAll("input[data-filters]")) {
  const rows = [...document.getElementById(filter.dataset.filters).tBodies[0].rows];
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

// Tables that sort: the head of each column becomes a button. The first press sorts downwards, the next one upwards.
addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(".sortable table")) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const said = document.createElement("p");
    said.className = "visually-hidden";
    said.setAttribute("aria-live", "polite");
    table.closest(".sortable").append(said);
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => row.cells[column].textContent.trim();
        const order = (a, b) => {
          const [x, y] = [parseFloat(value(a)), parseFloat(value(b))];
          return Number.isNaN(x) || Number.isNaN(y) ? value(a).localeCompare(value(b)) : x - y;
        };
        body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b)));
        said.textContent = `Sorted by ${button.textContent.trim()}, ${down ? "highest" : "lowest"} first.`;
      });
    });
  }
});

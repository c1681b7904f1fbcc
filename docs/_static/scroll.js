// Tables, code and figures that are wider than their place scroll: let the keyboard reach exactly those, and name them.
const READABLE = 0.54; // of a PNG's pixels (150 a inch): its smallest text, 8 points, is then 9 px high
function name(box) {
  const picture = box.querySelector(":scope > img");
  if (picture) return "Figure: " + picture.alt;
  const heads = [...box.querySelectorAll("thead th")].map((head) => head.textContent.trim()).filter(Boolean);
  return heads.length ? "Table: " + heads.slice(0, 4).join(", ") : box.querySelector("table") ? "Table" : "Code";
}
function mark() {
  for (const picture of document.querySelectorAll("article p > img[src$='.png']")) {
    const width = picture.naturalWidth > 800 ? READABLE * picture.naturalWidth : 0;
    const wide = width > picture.parentElement.clientWidth;
    picture.parentElement.classList.toggle("wide-figure", wide);
    picture.style.minWidth = wide ? `${width}px` : "";
  }
  for (const box of document.querySelectorAll(".table-wrapper, .highlight pre, .output.text_html, p:has(> img)")) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    const wanted = scrolls ? { tabindex: "0", role: "region", "aria-label": name(box) } : {};
    for (const attribute of ["tabindex", "role", "aria-label"]) {
      if (attribute in wanted) box.setAttribute(attribute, wanted[attribute]);
      else box.removeAttribute(attribute);
    }
  }
}
addEventListener("load", mark);
addEventListener("resize", mark);

// Tables of text that become blocks in a narrow window: each cell knows the name of its column.
addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(".stacked table")) {
    const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.cells].forEach((cell, i) => cell.setAttribute("data-label", heads[i]));
    }
  }
});
// What Sphinx leaves out for screen readers: the level of captions in the menu; a signature on several lines is no list of terms.
function mend() {
  for (const caption of document.querySelectorAll(".caption[role='heading']")) caption.setAttribute("aria-level", "2");
  for (const part of document.querySelectorAll("dt.sig dl, dt.sig dl dd")) part.setAttribute("role", "none");
  for (const part of document.querySelectorAll(".tag_hide-input summary")) part.removeAttribute("aria-label"); // it has words
}
addEventListener("DOMContentLoaded", mend);

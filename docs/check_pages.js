// Run by check_pages.py: shows every page in a frame at every width, light and dark, and reports what is wrong.
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

const luminance = ([r, g, b]) =>
  [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const parse = (color) => (color.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));

function background(element, view) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(parse(view.getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
}

function contrast(element, view) {
  const below = background(element, view);
  const [a, b] = [luminance(over(parse(view.getComputedStyle(element).color), below)), luminance(below)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

function scrolls(element, view) {
  for (let e = element; e && e !== element.ownerDocument.body; e = e.parentElement) {
    const style = view.getComputedStyle(e);
    if (["auto", "scroll", "hidden", "clip"].includes(style.overflowX) || style.position === "fixed") return true;
  }
  return false;
}

function* texts(doc, view) {
  const walker = doc.createTreeWalker(doc.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("script, style, svg, noscript")) continue;
    const range = doc.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    if (box.width && box.height && element.checkVisibility({ visibilityProperty: true })) {
      yield [element, box, walker.currentNode.textContent.trim().slice(0, 50)];
    }
  }
}

async function check(page) {
  const frame = document.createElement("iframe");
  frame.style.cssText = "border:0;height:1000px;width:1366px";
  document.body.replaceChildren(frame);
  await new Promise((done) => { frame.onload = done; frame.src = "/" + page; });
  const view = frame.contentWindow, doc = frame.contentDocument, problems = new Set();
  doc.head.append(Object.assign(doc.createElement("style"), { textContent: "* { transition: none !important }" }));
  for (const width of settings.widths) {
    frame.style.width = width + "px";
    await wait(60);
    const wide = doc.documentElement.scrollWidth;
    if (wide > view.innerWidth) problems.add(`${width} px: the content is ${wide} px wide`);
    for (const [element, box, text] of texts(doc, view)) {
      if (box.right > view.innerWidth + 1 && !scrolls(element, view)) {
        problems.add(`${width} px: off the screen by ${Math.round(box.right - view.innerWidth)} px: ${text}`);
      }
    }
  }
  if (!page.startsWith("_modules/")) {
    for (const theme of ["light", "dark"]) {
      doc.body.dataset.theme = theme;
      await wait(60);
      for (const [element, , text] of texts(doc, view)) {
        const size = parseFloat(view.getComputedStyle(element).fontSize);
        const found = contrast(element, view);
        if (found < (size >= 24 ? 3 : 4.5)) {
          const what = element.tagName.toLowerCase() + (element.className ? "." + element.className : "");
          problems.add(`${theme}: contrast ${found.toFixed(1)} of <${what}>: ${text}`);
        }
      }
    }
  }
  return [...problems];
}

(async () => {
  for (const page of settings.pages) {
    let problems;
    try { problems = await check(page); } catch (error) { problems = [`not measured: ${error}`]; }
    await fetch("/report", { method: "POST", body: JSON.stringify({ page, problems }) });
  }
})();

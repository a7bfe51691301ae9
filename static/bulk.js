// Selecting rows: all of the page, a range with shift, and how many are selected.

for (const form of document.querySelectorAll("form[data-bulk]")) {
  const boxes = [...form.querySelectorAll("input[name='ids']")];
  const actions = form.querySelectorAll("[data-bulk-action]");
  const count = form.querySelector("[data-bulk-count]");
  const all = form.querySelector("[data-bulk-all] input");
  let last = -1;

  form.querySelector("[data-bulk-all]").hidden = false;

  const update = () => {
    const selected = boxes.filter((box) => box.checked).length;
    all.checked = selected > 0 && selected === boxes.length;
    all.indeterminate = selected > 0 && selected < boxes.length;
    count.textContent = selected ? `${selected} selected` : "";
    for (const action of actions) action.disabled = selected === 0;
  };

  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    update();
  });
  form.addEventListener("click", (event) => {
    const index = boxes.indexOf(event.target);
    if (index < 0) return;
    if (event.shiftKey && last >= 0) {
      const [from, to] = index < last ? [index, last] : [last, index];
      for (const box of boxes.slice(from, to + 1)) box.checked = event.target.checked;
    }
    last = index;
    update();
  });
  // Browsers keep ticks over a reload and over the back button.
  window.addEventListener("pageshow", update);
  update();
}

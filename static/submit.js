// Forms with data-busy say that they are on their way, and are sent once.

const busy = new Map();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.dataset.busy) return;
  if (busy.has(form)) {
    event.preventDefault();
    return;
  }
  const button = event.submitter ?? form.querySelector("button");
  busy.set(form, { button, content: button ? [...button.childNodes] : [] });
  for (const hint of form.querySelectorAll("[data-busy-hint]")) hint.hidden = false;
  if (!button) return;
  // Later, because a disabled button does not send its own name and value.
  setTimeout(() => {
    button.setAttribute("aria-busy", "true");
    button.disabled = true;
    button.replaceChildren(form.dataset.busy);
  });
});

// The back button shows the page as it was left: ready again.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const [form, { button, content }] of busy) {
    for (const hint of form.querySelectorAll("[data-busy-hint]")) hint.hidden = true;
    if (!button) continue;
    button.removeAttribute("aria-busy");
    button.disabled = false;
    button.replaceChildren(...content);
  }
  busy.clear();
});

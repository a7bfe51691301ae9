// Selects of a form with data-autosubmit apply at once; the key "/" goes to the search field.

document.addEventListener("change", (event) => {
  if (event.target instanceof HTMLSelectElement) {
    event.target.closest("form[data-autosubmit]")?.requestSubmit();
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable], dialog")) return;
  const field = document.querySelector("[data-hotkey='/']");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

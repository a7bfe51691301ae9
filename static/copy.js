// Buttons with data-copy put that text on the clipboard. Without script they stay hidden.

function reveal() {
  for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
}

// Plain http has no clipboard, and it may be refused; a selected field and the old command still work.
function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.setAttribute("readonly", "");
  field.className = "sr";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("copy refused");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const label = button.querySelector("[data-copy-label]");
  label.setAttribute("role", "status");
  try {
    await copy(button.dataset.copy);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Select and copy it yourself";
  }
  setTimeout(() => {
    label.textContent = "Copy";
  }, 2000);
});

document.addEventListener("tracebucket:replaced", reveal);
reveal();

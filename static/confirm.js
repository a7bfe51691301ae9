// Forms with data-confirm ask once more before they are sent.

const confirmed = new WeakSet();

function ask(question, action) {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog dialog-small";
  dialog.setAttribute("aria-labelledby", "confirm-title");

  const title = document.createElement("h2");
  title.id = "confirm-title";
  const mark = question.indexOf("?") + 1;
  title.textContent = mark ? question.slice(0, mark) : question;
  const text = document.createElement("p");
  text.textContent = mark ? question.slice(mark).trim() : "";

  const actions = document.createElement("form");
  actions.method = "dialog";
  actions.className = "row-actions";
  const yes = document.createElement("button");
  yes.className = "button button-primary";
  yes.value = "yes";
  yes.textContent = action;
  const no = document.createElement("button");
  no.className = "button";
  no.value = "";
  no.textContent = "Cancel";
  no.autofocus = true;
  actions.append(yes, no);

  dialog.append(title, text, actions);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

// In the capture phase, so that nothing else treats the form as sent before the answer is yes.
document.addEventListener(
  "submit",
  async (event) => {
    const form = event.target;
    const question = form.dataset.confirm;
    if (!question || confirmed.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const submitter = event.submitter;
    const action = (submitter?.firstChild?.textContent || submitter?.textContent || "").trim();
    if (await ask(question, action || "Continue")) {
      confirmed.add(form);
      form.requestSubmit(submitter);
    }
  },
  true,
);

// An element with data-poll="seconds" and an id is asked for again until the server sends it without.

const LIMIT = 15 * 60 * 1000;
const SLOWEST = 15_000;
const FOCUSABLE = "a[href], button, input, select, textarea, summary";
const began = Date.now();

function swap(old, fresh) {
  const focused = [...old.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  old.replaceWith(fresh);
  if (focused >= 0) fresh.querySelectorAll(FOCUSABLE)[focused]?.focus();
  document.dispatchEvent(new CustomEvent("tracebucket:replaced"));
}

// The element as the server has it now; `gone` when the page came without it, `null` when none came.
async function fetchFresh(id) {
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) return null;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return page.getElementById(id) ?? "gone";
  } catch {
    return null;
  }
}

function watch(id, wait) {
  setTimeout(async () => {
    const old = document.getElementById(id);
    if (!old || Date.now() - began > LIMIT) return;
    if (document.hidden || document.querySelector("dialog[open]")) {
      watch(id, wait);
      return;
    }
    const fresh = await fetchFresh(id);
    if (fresh === "gone") {
      location.reload();
      return;
    }
    const goesOn = !fresh || fresh.dataset.poll;
    if (fresh && (!goesOn || fresh.innerHTML !== old.innerHTML)) swap(old, document.adoptNode(fresh));
    if (goesOn) watch(id, Math.min(SLOWEST, wait * 1.25));
  }, wait);
}

for (const element of document.querySelectorAll("[data-poll][id]")) {
  watch(element.id, Number(element.dataset.poll) * 1000);
}

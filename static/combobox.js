// Type-ahead for the one select or text field inside [data-combobox].
//
// The original field stays in the form, hidden, and holds the value that is sent. A select offers
// its options and accepts only a choice; a text field also accepts what was typed, such as a number.
// data-url     answers ?field=&query= with [{label, value}], or {detail} when it cannot
// data-field   what is searched
// data-needs   name of another field of the form that is sent along under that name
// data-empty   the hint in the open list while nothing is typed

const WAIT = 200;

class Combobox {
  constructor(root) {
    this.root = root;
    this.source = root.querySelector("select, input");
    this.form = this.source.form;
    this.isSelect = this.source instanceof HTMLSelectElement;
    this.items = [];
    this.active = -1;
    this.timer = 0;
    this.request = null;
    this.build();
    this.listen();
    this.showValue();
  }

  build() {
    const { source, root } = this;
    const input = document.createElement("input");
    input.type = "text";
    input.id = source.id;
    input.autocomplete = "off";
    input.spellcheck = false;
    input.placeholder = source.placeholder || (this.isSelect ? "Type to search" : "");
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-expanded", "false");
    input.setAttribute("aria-controls", `${source.id}-list`);
    for (const name of ["aria-describedby", "aria-invalid"]) {
      if (source.hasAttribute(name)) input.setAttribute(name, source.getAttribute(name));
    }
    input.required = source.required;
    source.required = false;
    source.removeAttribute("aria-describedby");

    const list = document.createElement("div");
    list.className = "combo-list";
    list.hidden = true;
    const options = document.createElement("div");
    options.id = `${source.id}-list`;
    options.setAttribute("role", "listbox");
    options.setAttribute("aria-label", root.querySelector("label").firstChild.textContent.trim());
    const note = document.createElement("p");
    note.className = "combo-note";
    note.setAttribute("role", "status");
    list.append(options, note);

    const combo = document.createElement("div");
    combo.className = "combo";
    source.after(combo);
    combo.append(input, list);
    source.id = `${source.id}-value`;
    if (this.isSelect) source.hidden = true;
    else source.type = "hidden";
    Object.assign(this, { input, list, options, note });
  }

  listen() {
    this.input.addEventListener("input", () => this.typed());
    this.input.addEventListener("click", () => this.open());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => this.left());
    // Keeps the focus in the field while an option is pressed.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.options.addEventListener("click", (event) => {
      const option = event.target.closest("[role='option']");
      if (option) this.pick(this.items[Number(option.dataset.index)]);
    });
    const needed = this.needed();
    needed?.addEventListener("change", () => {
      this.set("", "");
      this.items = [];
    });
  }

  needed() {
    const name = this.root.dataset.needs;
    return name ? this.form.elements.namedItem(name) : null;
  }

  choices() {
    if (!this.isSelect) return [];
    return [...this.source.options].filter((option) => option.value).map(({ value, label }) => ({ value, label }));
  }

  showValue() {
    this.input.value = this.isSelect
      ? this.source.value && this.source.selectedOptions[0].label
      : this.source.value;
    this.judge();
  }

  judge() {
    const text = this.input.value.trim();
    const lost = this.isSelect && text !== "" && this.source.value === "";
    this.input.setCustomValidity(lost ? "Choose one from the list." : "");
  }

  set(value, label) {
    if (this.isSelect && value && !this.choices().some((choice) => choice.value === value)) {
      this.source.append(new Option(label, value));
    }
    const changed = this.source.value !== value;
    this.source.value = value;
    this.input.value = label;
    this.judge();
    if (changed) this.source.dispatchEvent(new Event("change", { bubbles: true }));
  }

  typed() {
    const text = this.input.value.trim();
    const same = this.choices().find((choice) => choice.label.toLowerCase() === text.toLowerCase());
    const value = this.isSelect ? (same?.value ?? "") : text;
    const changed = this.source.value !== value;
    this.source.value = value;
    this.judge();
    if (changed) this.source.dispatchEvent(new Event("change", { bubbles: true }));
    this.open(text);
  }

  open(text = "") {
    const near = this.choices().filter((choice) => choice.label.toLowerCase().includes(text.toLowerCase()));
    this.show(near, text ? "Searching…" : this.root.dataset.empty);
    clearTimeout(this.timer);
    this.request?.abort();
    if (text) this.timer = setTimeout(() => this.search(text, near), WAIT);
  }

  async search(text, near) {
    const url = new URL(this.root.dataset.url, location.href);
    url.searchParams.set("field", this.root.dataset.field);
    url.searchParams.set("query", text);
    const needed = this.needed();
    if (needed) url.searchParams.set(needed.name, needed.value);
    this.request = new AbortController();
    try {
      const answer = await fetch(url, {
        credentials: "same-origin",
        headers: { accept: "application/json" },
        signal: this.request.signal,
      });
      const body = await answer.json().catch(() => null);
      if (this.list.hidden) return;
      if (!answer.ok || !Array.isArray(body)) {
        this.show(near, body?.detail ?? "The search did not work. Try again.", true);
        return;
      }
      const known = new Set(near.map((choice) => choice.value));
      const found = body
        .map(({ value, label }) => ({ value: String(value), label: String(label) }))
        .filter((choice) => !known.has(choice.value));
      const items = [...near, ...found];
      this.show(items, items.length ? "" : "Nothing found.");
    } catch (error) {
      if (error.name !== "AbortError") this.show(near, "The server cannot be reached.", true);
    }
  }

  show(items, note, isBad = false) {
    this.items = items;
    this.options.replaceChildren(
      ...items.map(({ label }, index) => {
        const option = document.createElement("div");
        option.className = "combo-option";
        option.id = `${this.options.id}-${index}`;
        option.dataset.index = index;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.textContent = label;
        return option;
      }),
    );
    this.note.textContent = note ?? "";
    this.note.hidden = !note;
    this.note.classList.toggle("combo-note-bad", isBad);
    this.list.hidden = items.length === 0 && !note;
    this.input.setAttribute("aria-expanded", String(!this.list.hidden && items.length > 0));
    this.mark(-1);
  }

  close() {
    clearTimeout(this.timer);
    this.request?.abort();
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.mark(-1);
  }

  mark(index) {
    this.options.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = index;
    const option = this.options.children[index];
    if (!option) {
      this.input.removeAttribute("aria-activedescendant");
      return;
    }
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", option.id);
  }

  pick({ value, label }) {
    this.set(value, label);
    this.close();
  }

  left() {
    this.close();
    // A typed number stays as it is; half a name goes back to what was chosen before, if anything was.
    if (this.isSelect && this.source.value) this.showValue();
  }

  key(event) {
    const isOpen = !this.list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) this.open();
      if (!this.items.length) return;
      const step = event.key === "ArrowDown" ? 1 : -1;
      const from = this.active < 0 && step < 0 ? 0 : this.active;
      this.mark((from + step + this.items.length) % this.items.length);
    } else if (event.key === "Enter" && isOpen && this.active >= 0) {
      event.preventDefault();
      this.pick(this.items[this.active]);
    } else if (event.key === "Escape" && isOpen) {
      // Closes the list only; the next one closes the dialog around it.
      event.preventDefault();
      event.stopPropagation();
      this.close();
    }
  }
}

for (const root of document.querySelectorAll("[data-combobox]")) new Combobox(root);

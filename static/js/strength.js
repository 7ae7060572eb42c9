// Strength: data-strength="password" holds the meter of that field; the server judges, a moment after the last key.
const PAUSE = 350; // ms
const EMPTY = -1; // below "very weak", which shows a little red

export function strength() {
  for (const box of document.querySelectorAll("[data-strength]")) {
    const input = document.getElementById(box.dataset.strength);
    const meter = box.querySelector("meter");
    const words = box.querySelector("[role=status]");
    let timer, asked;
    const show = ({ score, text }) => { meter.value = score; words.textContent = text; };
    const ask = async () => {
      const body = new FormData();
      body.set("csrfmiddlewaretoken", input.form.elements.csrfmiddlewaretoken.value);
      body.set("password", input.value);
      asked = new AbortController();
      try {
        const answer = await fetch(box.dataset.ask, { method: "POST", body, signal: asked.signal });
        if (answer.ok) show(await answer.json());
      } catch { /* Typed on, or offline: the form says it when it is sent. */ }
    };
    input.addEventListener("input", () => {
      clearTimeout(timer);
      // What was refused is no longer in the field.
      document.getElementById(`${input.id}-error`)?.remove();
      input.removeAttribute("aria-invalid");
      asked?.abort();
      if (input.value) timer = setTimeout(ask, PAUSE);
      else show({ score: EMPTY, text: "" });
    });
  }
}

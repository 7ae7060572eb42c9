// Once: a form on its way ignores further submits until it is answered. The server is what counts; this spares people its refusal.
const PATIENCE = 10_000; // ms after which an unanswered form may be sent again (offline, or the stop button)

export function once() {
  const free = (form) => {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  };
  // Capture, so that it runs before a form is sent in place (inplace.js).
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    form.dataset.sent = "true";
    event.submitter?.setAttribute("aria-busy", "true");
    setTimeout(() => free(form), PATIENCE);
  }, true);
  const freeAll = () => { for (const form of document.querySelectorAll("form[data-sent]")) free(form); };
  addEventListener("pageshow", freeAll);
  document.addEventListener("form:failed", freeAll);
}

// In place: sends a form and puts the form of the answer where it was, so that what is above it on the page stays (a new key's secret).
// An answer that is not this form changes nothing: "form:failed" says so. Header names are htmx's, whose protocol this is.
const answered = (form, name) => form.dispatchEvent(new Event(name, { bubbles: true }));

function place(form, fresh) {
  const focused = document.activeElement?.id;
  form.replaceWith(document.adoptNode(fresh));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  fresh.querySelector("[autofocus]")?.focus();
  answered(fresh, "form:placed");
}

export function inPlace() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || !("inPlace" in form.dataset)) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form));
    if (event.submitter?.name) fields.append(event.submitter.name, event.submitter.value);
    const request = new XMLHttpRequest();
    const fail = () => answered(form, "form:failed");
    request.open("POST", location.pathname);
    request.setRequestHeader("HX-Request", "true");
    // SECURITY: parsed by the browser into a document of its own, in which no script runs: needs no HTML sink, which
    // Trusted Types forbid on all pages.
    request.responseType = "document";
    request.addEventListener("error", fail);
    request.addEventListener("load", () => {
      const target = request.getResponseHeader("HX-Redirect");
      if (target) return location.assign(target);
      const fresh = request.status < 400 && request.response?.getElementById(form.id);
      if (fresh) place(form, fresh);
      else fail();
    });
    request.send(fields);
  });
}

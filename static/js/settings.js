// Settings: the form is saved in place (htmx) while the secret stays above it. An answer that is not the form is not swapped in.
export function settings() {
  const fault = document.getElementById("fault");
  if (!fault) return;
  const fail = () => { fault.hidden = false; fault.scrollIntoView({ block: "nearest" }); };
  document.addEventListener("htmx:beforeRequest", () => { fault.hidden = true; });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status < 400 && event.detail.serverResponse.includes('id="settings"')) return;
    event.detail.shouldSwap = false;
    fail();
  });
  document.addEventListener("htmx:sendError", fail);
  // The button that removed an address is gone with it; the keyboard goes on at the field beside it.
  document.addEventListener("htmx:afterSettle", () => {
    if (document.activeElement === document.body) document.getElementById("network")?.focus();
  });
}

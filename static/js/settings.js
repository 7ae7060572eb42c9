// Settings: the form is saved in place (htmx) while the secret stays above it. An answer that is not the form is not swapped in.
// While something is changed the bar with the button stays in view, and the browser asks before the page is left.
const CONTROLS = "input:not([type=hidden]), textarea, select";

const differs = (control) => {
  if (control.matches("[type=checkbox], [type=radio]")) return control.checked !== control.defaultChecked;
  if (control.matches("select")) {
    // Where no option is marked, the first one is what the page came with.
    const marked = [...control.options].findIndex((option) => option.defaultSelected);
    return control.selectedIndex !== Math.max(marked, 0);
  }
  return control.value !== control.defaultValue;
};

function keepChanges() {
  let isSent = false;
  const form = () => document.getElementById("settings");
  const isChanged = () => {
    const here = form();
    return Boolean(here) && ("unsaved" in here.dataset || [...here.querySelectorAll(CONTROLS)].some(differs));
  };
  const show = () => {
    const changed = isChanged();
    const here = form();
    here?.classList.toggle("changed", changed);
    const line = here?.querySelector("[data-changed]");
    if (line) line.hidden = !changed;
  };
  document.addEventListener("input", show);
  document.addEventListener("change", show);
  document.addEventListener("submit", (event) => { isSent = event.target === form(); });
  document.addEventListener("htmx:afterSettle", () => { isSent = false; show(); });
  document.addEventListener("settings:fault", () => { isSent = false; });
  addEventListener("pageshow", () => { isSent = false; show(); });
  addEventListener("beforeunload", (event) => { if (!isSent && isChanged()) event.preventDefault(); });
  show();
}

// A third of what the page weighs, needed only by those who change something.
function fetchHtmx() {
  const source = document.querySelector("meta[name=htmx-script]")?.content;
  const form = document.getElementById("settings");
  if (!source || !form) return;
  const begun = new AbortController();
  const load = () => {
    begun.abort();
    const script = document.createElement("script");
    script.src = source;
    document.head.append(script);
  };
  for (const event of ["pointerover", "pointerdown", "focusin"]) form.addEventListener(event, load, { signal: begun.signal });
}

export function settings() {
  const fault = document.getElementById("fault");
  if (!fault) return;
  const fail = () => {
    fault.hidden = false;
    fault.scrollIntoView({ block: "nearest" });
    document.dispatchEvent(new Event("settings:fault"));
  };
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
  keepChanges();
  fetchHtmx();
}

// Settings: the form is saved in place (inplace.js) while the secret stays above it. An answer that is not the form is reported.
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
  document.addEventListener("form:placed", () => { isSent = false; show(); });
  document.addEventListener("form:failed", () => { isSent = false; });
  addEventListener("pageshow", () => { isSent = false; show(); });
  addEventListener("beforeunload", (event) => { if (!isSent && isChanged()) event.preventDefault(); });
  show();
}

export function settings() {
  const fault = document.getElementById("fault");
  if (!fault) return;
  document.addEventListener("form:failed", () => {
    fault.hidden = false;
    fault.scrollIntoView({ block: "nearest" });
  });
  // The button that removed an address is gone with it; the keyboard goes on at the field beside it.
  document.addEventListener("form:placed", () => {
    fault.hidden = true;
    if (document.activeElement === document.body) document.getElementById("network")?.focus();
  });
  keepChanges();
}

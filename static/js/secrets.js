// Secrets: leaving the page empties every [data-secret], so that Back cannot show it from the browser's page cache.
// The attribute holds what to say in its place; an element without words is removed.
const wipe = () => {
  for (const box of document.querySelectorAll("[data-secret]")) {
    document.querySelector(`[data-copy="#${box.id}"]`)?.remove();
    if (box.dataset.secret) box.textContent = box.dataset.secret;
    else box.remove();
  }
};

export function secrets() {
  addEventListener("pagehide", wipe);
  addEventListener("pageshow", (event) => { if (event.persisted) wipe(); });
}

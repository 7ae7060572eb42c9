// First use: a line that asks every 3 s, for 5 minutes, whether the first signed request has come, and turns green.
const PAUSE = 3000; // ms
const TRIES = 100;

export function firstUse() {
  const line = document.querySelector("[data-first-use]");
  if (!line) return;
  const words = line.querySelector("p");
  const use = line.querySelector("use");
  let left = TRIES;
  const show = ({ used, text }) => {
    if (words.textContent !== text) words.textContent = text;
    if (!used) return;
    line.dataset.tone = "ok";
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, "#check"));
    left = 0;
  };
  const ask = async () => {
    left -= 1;
    try {
      const answer = await fetch(line.dataset.firstUse, { redirect: "error" });
      if (answer.ok) show(await answer.json());
      else if (answer.status < 500) left = 0;
    } catch { /* Offline or logged out: the next try may find it again. */ }
    if (left > 0) setTimeout(ask, PAUSE);
  };
  setTimeout(ask, PAUSE);
}

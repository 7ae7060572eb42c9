// Chart: one stop of the Tab key for all days; the arrow keys go from day to day, Home and End to the ends.
const STEPS = { ArrowLeft: -1, ArrowRight: 1 }; // the oldest day is at the left in both languages

export function charts() {
  for (const chart of document.querySelectorAll("[data-chart]")) {
    const days = [...chart.children];
    const go = (day) => {
      for (const other of days) other.tabIndex = other === day ? 0 : -1;
      day.focus();
    };
    chart.addEventListener("keydown", (event) => {
      const here = days.indexOf(document.activeElement);
      const ends = { Home: days[0], End: days.at(-1) };
      const next = ends[event.key] ?? days[here + (STEPS[event.key] ?? NaN)];
      if (event.key === "Escape") document.activeElement.blur();
      if (!next) return;
      event.preventDefault();
      go(next);
    });
    chart.addEventListener("click", (event) => {
      const day = event.target.closest("[data-chart] > *");
      if (day) go(day);
    });
  }
}

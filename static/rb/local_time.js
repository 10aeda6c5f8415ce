// Show instants in the reader's time zone. The server writes them in New York time, so pages are complete without this.
// <time datetime="…" data-local="seconds|minutes|day|clock">: the text is rewritten, and the title keeps New York time.
// data-local="title": the text stays (an age, such as "3 min ago"), and the title gets the reader's time.
(() => {
  "use strict";

  // One form for every reader, whatever the browser's language: 28 Nov 2026, 09:30:08.
  const parts = new Intl.DateTimeFormat("en-US", {
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });

  const layouts = {
    day: (at) => `${at.day} ${at.month} ${at.year}`,
    minutes: (at) => `${layouts.day(at)}, ${at.hour}:${at.minute}`,
    seconds: (at) => `${layouts.day(at)}, ${at.hour}:${at.minute}:${at.second}`,
    clock: (at) => `${at.hour}:${at.minute}:${at.second}`,
  };

  const rewrite = (element) => {
    const instant = new Date(element.dateTime);
    const at = Object.fromEntries(parts.formatToParts(instant).map(({ type, value }) => [type, value]));
    const layout = element.dataset.local;
    delete element.dataset.local;
    if (layout === "title") {
      element.title = layouts.seconds(at);
    } else {
      element.title = element.textContent;
      element.textContent = layouts[layout](at);
    }
  };

  const rewriteAll = (root) => root.querySelectorAll("time[data-local]").forEach(rewrite);

  // Before the next paint, also in fragments that a poll has replaced.
  const observer = new MutationObserver((changes) => {
    for (const change of changes) {
      for (const added of change.addedNodes) {
        if (added.nodeType === Node.ELEMENT_NODE) {
          rewriteAll(added.parentElement ?? added);
        }
      }
    }
  });
  rewriteAll(document);
  observer.observe(document.body, { childList: true, subtree: true });
})();

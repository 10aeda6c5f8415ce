// Tells screen readers the end of a run or preview. The element is outside the part that is replaced, so that it is read.
"use strict";
document.addEventListener("htmx:afterSwap", () => {
  const run = document.getElementById("run");
  const text = run ? (run.dataset.announcement ?? "").replace(/\s+/g, " ").trim() : "";
  if (text) document.getElementById("announcements").textContent = text;
});

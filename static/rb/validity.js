// Counts down how long a preview can be sent, by the server's clock. The server decides, and says what became of it.
"use strict";
{
  const MS = 1000;
  let clockOffset = 0; // server minus browser
  let timer = 0;

  const words = (seconds) => {
    const minutes = Math.floor(seconds / 60);
    if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
  };

  const end = (validity) => {
    validity.textContent = "The time to send has passed";
    validity.classList.add("rb-expired");
    const submit = document.getElementById("submit-orders");
    if (submit) submit.disabled = true;
    // Somebody may have sent it elsewhere: only the server knows.
    window.htmx.ajax("GET", validity.dataset.stateAddress, { target: "#run", swap: "outerHTML" });
  };

  const show = () => {
    const validity = document.getElementById("validity");
    if (!validity) return window.clearInterval(timer);
    const left = Math.ceil((Date.parse(validity.dataset.expiresAt) - Date.now() - clockOffset) / MS);
    if (left > 0) {
      validity.textContent = `Valid for ${words(left)}`;
      return undefined;
    }
    window.clearInterval(timer);
    return end(validity);
  };

  const start = () => {
    const validity = document.getElementById("validity");
    window.clearInterval(timer);
    if (!validity || !validity.dataset.expiresAt) return;
    clockOffset = Date.parse(validity.dataset.now) - Date.now();
    timer = window.setInterval(show, MS);
    show();
  };

  start();
  document.addEventListener("htmx:afterSwap", start);
  // Browsers slow timers of hidden pages down.
  document.addEventListener("visibilitychange", () => document.hidden || show());
  window.addEventListener("pageshow", (event) => event.persisted && show());
}

// Says on a page that refreshes itself when the site does not answer, and asks less often until it does.
"use strict";
{
  const RETRY_MS = 5000;
  const REFUSED = [401, 403, 404];
  const RELOAD_MS = 60000; // a page that is refused again within this time stops asking
  const banner = document.getElementById("connection-lost");
  let reachedAt = new Date();
  let retryAt = 0;

  const lost = () => {
    if (banner.hidden) {
      const time = banner.querySelector("time");
      time.dateTime = reachedAt.toISOString();
      time.textContent = reachedAt.toLocaleTimeString("en-US", {
        hour: "2-digit",
        minute: "2-digit",
        hourCycle: "h23",
        timeZoneName: "short", // the reader's, as local_time.js shows all times
      });
      banner.hidden = false;
    }
    retryAt = Date.now() + RETRY_MS;
  };

  const reached = () => {
    reachedAt = new Date();
    retryAt = 0;
    banner.hidden = true;
  };

  // The page itself says why a part of it is refused, such as a missing permission. If it does not, once is enough.
  const reloadOnce = () => {
    const key = `rb-reloaded ${window.location.pathname}`;
    if (Date.now() - Number(sessionStorage.getItem(key)) < RELOAD_MS) {
      retryAt = Infinity;
      return;
    }
    sessionStorage.setItem(key, String(Date.now()));
    window.location.reload();
  };

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (Date.now() < retryAt) event.preventDefault();
  });
  document.addEventListener("htmx:sendError", lost);
  document.addEventListener("htmx:timeout", lost);
  document.addEventListener("htmx:afterRequest", (event) => {
    const status = event.detail.xhr.status;
    if (REFUSED.includes(status)) reloadOnce();
    else if (status >= 400) lost();
    else if (status > 0) reached();
  });
}

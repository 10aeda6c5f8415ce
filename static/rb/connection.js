// Says on a page that refreshes itself when the site does not answer, and asks less often until it does.
"use strict";
{
  const RETRY_MS = 5000;
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
        timeZone: banner.dataset.timeZone, // that of all times of the page
        timeZoneName: "short",
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

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (Date.now() < retryAt) event.preventDefault();
  });
  document.addEventListener("htmx:sendError", lost);
  document.addEventListener("htmx:timeout", lost);
  document.addEventListener("htmx:afterRequest", (event) => {
    const status = event.detail.xhr.status;
    if (status >= 500) lost();
    else if (status >= 400) window.location.reload(); // the page itself says why, such as a missing permission
    else if (status > 0) reached();
  });
}

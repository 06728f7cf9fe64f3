// Renews the parts of a page that are marked data-live, and filters tables. Pages work without it.
"use strict";

// Every data-refresh seconds the page is fetched again and the live parts are exchanged, unless
// nobody looks at it or somebody is just using a control in one of them.
function refreshEvery(seconds) {
  let failures = 0;
  async function renew() {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, {headers: {"X-Hostmeter-Refresh": "1"}, redirect: "manual"});
        if (answer.type === "opaqueredirect") { location.reload(); return; } // the session is over
        if (!answer.ok) throw new Error(answer.status);
        exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
        failures = 0;
      } catch (e) {
        failures++;
      }
      document.body.classList.toggle("stale", failures > 1);
    }
    setTimeout(renew, seconds * 1000);
  }
  setTimeout(renew, seconds * 1000);
}

function exchange(page) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = page.getElementById(part.id);
    if (next && !part.contains(document.activeElement) && next.innerHTML !== part.innerHTML) part.innerHTML = next.innerHTML;
  }
}

function filter(input) {
  const rows = document.querySelectorAll("#" + input.dataset.filter + " tbody tr");
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
    }
  });
}

const live = document.querySelector("[data-refresh]");
if (live) refreshEvery(Number(live.dataset.refresh));
for (const input of document.querySelectorAll("[data-filter]")) filter(input);
const months = document.querySelector(".chooser select");
if (months) {
  months.addEventListener("change", () => months.form.submit());
  months.form.querySelector("button").hidden = true;
}

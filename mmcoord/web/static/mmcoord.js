// What the pages do beyond links: live refresh, ages, copying, bands, choosing a target.
// Every page works without it.
"use strict";

const pressed = new Map(); // band -> shown; survives a refresh
const everywhere = (selector, root = document) => [...root.querySelectorAll(selector)];

// -- times -------------------------------------------------------------------------

function span(seconds) {
  const s = Math.abs(seconds);
  if (s < 99.5) return `${Math.round(s)} s`;
  if (s < 5970) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  const days = s / 86400;
  return days < 730 ? `${days.toFixed(days < 10 ? 1 : 0)} d` : `${(days / 365.25).toFixed(1)} yr`;
}

function tick() {
  const now = new Date();
  const clock = document.getElementById("clock");
  if (clock) {
    const [date, time] = now.toISOString().slice(0, 19).split("T");
    clock.querySelector(".clock-date").textContent = `${date} `;
    clock.querySelector(".clock-time").textContent = time;
  }
  for (const age of everywhere("[data-age-of]")) {
    const seconds = (now - new Date(age.dataset.ageOf)) / 1000;
    age.textContent = seconds < 0 ? `in ${span(seconds)}` : `${span(seconds)} ago`;
  }
}

// -- copying -----------------------------------------------------------------------

async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard without a secure connection: the old way.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.classList.add("copied");
  announce(`Copied ${text}`);
  setTimeout(() => button.classList.remove("copied"), 1500);
}

function announce(text) {
  const place = document.getElementById("announcer");
  if (place) place.textContent = text;
}

// -- bands of the light curve ------------------------------------------------------

function showBands() {
  for (const [name, shown] of pressed) {
    for (const group of everywhere("[data-band]")) {
      if (group.dataset.band === name) group.toggleAttribute("hidden", !shown);
    }
    for (const button of everywhere("[data-band-button]")) {
      if (button.dataset.bandButton === name) button.setAttribute("aria-pressed", String(shown));
    }
  }
}

// -- refreshing what changed -------------------------------------------------------

const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key || node.id || null : null);

// Make `old` look like `fresh`, keeping the nodes that stay: an opened "why", the focus, a
// selection and the place in a list survive.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) {
    const openByHand = name === "open" && old.tagName === "DETAILS";
    if (!fresh.hasAttribute(name) && !openByHand) old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const keyed = new Map();
  for (const child of old.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
  let here = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const key = keyOf(child);
    let match = key ? keyed.get(key) : here;
    const fits = match && match.nodeName === child.nodeName && (key || !keyOf(match));
    if (!fits) {
      old.insertBefore(document.importNode(child, true), here);
      continue;
    }
    if (match !== here) old.insertBefore(match, here);
    else here = here.nextSibling;
    if (match.nodeType === 1) morph(match, child);
    else if (match.nodeValue !== child.nodeValue) match.nodeValue = child.nodeValue;
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

let refreshing = false;
let again = false;
let lastCost = 0;

// `isLive`: a second or more after the stream told of something new. The server then may give
// out a page that it began within that second: it has the news.
async function refresh(isLive = false) {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  const started = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html", ...(isLive && { "mmcoord-live": "1" }) } });
    if (answer.ok) apply(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The stream's own state tells the reader that the connection is gone.
  }
  lastCost = performance.now() - started;
  refreshing = false;
  if (again) {
    again = false;
    soon();
  }
}

function apply(fresh) {
  const said = document.querySelector("[data-announce]")?.textContent;
  const focused = document.activeElement;
  for (const part of everywhere("[data-live]")) {
    const newer = everywhere("[data-live]", fresh).find((p) => p.dataset.live === part.dataset.live);
    if (newer) morph(part, newer);
  }
  document.body.dataset.stream = fresh.body.dataset.stream;
  const title = document.getElementById("light-curve");
  const newTitle = fresh.getElementById("light-curve");
  if (title && newTitle) morph(title, newTitle);
  // A node that was moved has lost the focus.
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  const says = document.querySelector("[data-announce]")?.textContent;
  if (says && says !== said) announce(says);
  showBands();
  tick();
}

let timer = null;
// A burst of entries is one refresh; a slow server is asked less often. Everybody hears of the same
// entry at the same time: each browser asks at a time of its own within the second after.
function soon() {
  if (timer === null) {
    timer = setTimeout(() => {
      timer = null;
      refresh(true);
    }, Math.max(1000, 4 * lastCost) + 1000 * Math.random());
  }
}

function listen() {
  const address = document.body.dataset.stream;
  const live = document.getElementById("live");
  if (!address || !window.EventSource) return;
  const say = (state, text) => {
    live.dataset.state = state;
    const place = live.querySelector(".live-text");
    if (place.textContent !== text) place.textContent = text;
  };
  const source = new EventSource(address);
  let wasLost = false;
  source.onopen = () => {
    say("on", "live");
    if (wasLost) refresh();
    wasLost = false;
  };
  source.addEventListener("journal", soon);
  source.onerror = () => {
    wasLost = true;
    if (source.readyState === EventSource.CLOSED) {
      say("lost", "every 15 s");
      setTimeout(() => {
        refresh();
        listen();
      }, 15000);
    } else {
      say("lost", "reconnecting");
    }
  };
}

// -- what is clicked ---------------------------------------------------------------

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.copy !== undefined) return void copy(button);
  if (button?.dataset.bandButton !== undefined) {
    pressed.set(button.dataset.bandButton, button.getAttribute("aria-pressed") !== "true");
    return showBands();
  }
  const choice = event.target.closest("a[data-choose]");
  if (choice && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    const address = choice.getAttribute("href");
    pressed.clear();
    history.replaceState(null, "", address);
    refresh().then(() => {
      const place = document.getElementById("light-curve");
      place?.scrollIntoView({ block: "nearest" });
      announce(place?.textContent ?? "");
    });
  }
});

// A row and its dot light up together.
function hot(event, on) {
  const row = event.target.closest?.("tr[data-object]");
  const dot = event.target.closest?.("[data-dot]");
  const name = row?.dataset.object ?? dot?.dataset.dot;
  if (name === undefined) return;
  for (const item of everywhere("tr[data-object], [data-dot]")) {
    if ((item.dataset.object ?? item.dataset.dot) === name) item.classList.toggle("is-hot", on);
  }
}
for (const [name, on] of [["mouseover", true], ["mouseout", false], ["focusin", true], ["focusout", false]]) {
  document.addEventListener(name, (event) => hot(event, on));
}

tick();
setInterval(tick, 1000);
listen();

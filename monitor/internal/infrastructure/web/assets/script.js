// Keeps the page current, filters while you type, and moves with the keyboard.
// Without it every page works; it only has to be loaded again by hand.
"use strict";
(() => {
  const live = document.getElementById("live");
  const link = document.getElementById("link");
  const filter = document.getElementById("q");
  const slowPoll = 30000, reconnect = 5000, typing = 150;
  let skew = 0, last = "", running = null, again = false, held = false, source = null;

  // Times: the server writes UTC, readers think in their own zone.
  const two = (n) => String(n).padStart(2, "0");
  function span(ms) {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 60) return s + "s";
    if (s < 3600) return Math.floor(s / 60) + "m " + two(s % 60) + "s";
    if (s < 86400) return Math.floor(s / 3600) + "h " + two(Math.floor(s / 60) % 60) + "m";
    return Math.floor(s / 86400) + "d " + (Math.floor(s / 3600) % 24) + "h";
  }
  function clock(t, now) {
    const hms = two(t.getHours()) + ":" + two(t.getMinutes()) + ":" + two(t.getSeconds());
    if (t.toDateString() === now.toDateString()) return hms;
    return t.toLocaleDateString(undefined, { day: "numeric", month: "short" }) + " " + hms;
  }
  function tick(root) {
    const now = new Date(Date.now() + skew);
    for (const el of root.querySelectorAll("time[data-f]")) {
      const t = new Date(el.dateTime), d = now - t;
      let text = span(Math.abs(d));
      if (el.dataset.f === "ago") text = d < 0 ? "in " + text : text + " ago";
      if (el.dataset.f === "since") text = span(d);
      if (el.dataset.f === "clock") text = clock(t, now);
      if (el.textContent !== text) el.textContent = text;
    }
  }
  function localize(root) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
    for (const el of root.querySelectorAll("[data-zone]")) el.textContent = zone;
    for (const el of root.querySelectorAll("time[data-f]")) {
      if (zone !== "UTC") el.title = new Date(el.dateTime).toLocaleString() + "\n" + el.title;
    }
    tick(root);
  }

  // What the reader has opened, chosen and scrolled survives a swap.
  function swap(html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const page = fresh.content.getElementById("page");
    if (!page) return;
    skew = new Date(page.dataset.now) - Date.now();
    document.title = page.dataset.title;
    localize(fresh.content);
    const open = new Set([...live.querySelectorAll("details[open][data-key]")].map((d) => d.dataset.key));
    for (const d of fresh.content.querySelectorAll("details[data-key]")) d.open = open.has(d.dataset.key);
    const focus = live.contains(document.activeElement) && document.activeElement;
    const href = focus && focus.getAttribute && focus.getAttribute("href");
    const at = href ? [...live.querySelectorAll("a")].filter((a) => a.getAttribute("href") === href).indexOf(focus) : -1;
    const x = scrollX, y = scrollY;
    live.replaceChildren(fresh.content);
    if (at >= 0) {
      const same = [...live.querySelectorAll("a")].filter((a) => a.getAttribute("href") === href);
      if (same.length) same[Math.min(at, same.length - 1)].focus({ preventScroll: true });
    }
    scrollTo(x, y);
  }
  function selecting() {
    const s = getSelection();
    return s && !s.isCollapsed && live.contains(s.anchorNode);
  }

  async function refresh() {
    if (running) { again = true; return; }
    if (selecting()) { held = true; return; }
    held = again = false;
    running = new AbortController();
    const timer = setTimeout(() => running && running.abort(), 20000);
    try {
      const url = new URL(location.href);
      url.hash = "";
      url.searchParams.set("fragment", "1");
      const answer = await fetch(url, { signal: running.signal, cache: "no-store" });
      if (!(answer.headers.get("Content-Type") || "").startsWith("text/html")) throw new Error(answer.status);
      const html = await answer.text();
      const same = html.replace(/data-now="[^"]*"/, "").replace(/>[^<]*<\/time>/g, "><");
      if (same !== last) { last = same; swap(html); }
      if (source && source.readyState === 1) connected(true);
    } catch (e) {
      if (!again) connected(false);
    } finally {
      clearTimeout(timer);
      running = null;
      if (again) refresh();
    }
  }

  // One stream for each visible page: browsers allow few to one server.
  function connected(yes) {
    link.hidden = false;
    link.className = yes ? "link" : "link off";
    const text = yes ? "live" : "disconnected";
    if (link.textContent !== text) link.textContent = text;
  }
  function connect() {
    if (source || document.hidden) return;
    source = new EventSource(document.body.dataset.events);
    source.onopen = () => { connected(true); refresh(); };
    source.addEventListener("changed", refresh);
    source.onerror = () => {
      connected(false);
      if (source && source.readyState === 2) { disconnect(); setTimeout(connect, reconnect); }
    };
  }
  function disconnect() {
    if (source) source.close();
    source = null;
  }

  function find(q) {
    const url = new URL(location.href);
    if (q) url.searchParams.set("q", q); else url.searchParams.delete("q");
    history.replaceState(null, "", url);
    if (running) { again = true; running.abort(); } else refresh();
  }
  if (filter) {
    let timer;
    filter.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => find(filter.value), typing);
    });
    filter.form.addEventListener("submit", (e) => {
      e.preventDefault();
      find(filter.value);
      move(1);
    });
  }

  function move(by) {
    const all = [...live.querySelectorAll("a.open")];
    if (!all.length) return;
    const i = all.indexOf(document.activeElement);
    const next = i < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, i + by));
    all[next].focus();
    all[next].closest("tr").scrollIntoView({ block: "nearest" });
  }
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target === filter) {
      if (e.key === "Escape") filter.blur();
      return;
    }
    if (e.key === "/" && filter) { e.preventDefault(); filter.focus(); filter.select(); }
    if (e.key === "j") move(1);
    if (e.key === "k") move(-1);
  });

  addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else connect(); });
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", (e) => { if (e.persisted) connect(); });
  setInterval(() => { tick(live); if (held && !selecting()) refresh(); }, 1000);
  setInterval(() => { if (!document.hidden) refresh(); }, slowPoll);
  const first = document.getElementById("page");
  if (first) skew = new Date(first.dataset.now) - Date.now();
  localize(document);
  connect();
})();

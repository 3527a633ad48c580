// Live figures, local times and keys. Every page and action works without this.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
  const hhmm = (at) => new Date(at).toISOString().slice(11, 16);

  const localTimes = (root) => {
    for (const time of all("time[datetime]", root)) {
      const at = new Date(time.dateTime);
      if (!isNaN(at)) time.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) + " in " + zone;
    }
  };

  const ages = () => {
    for (const age of all("[data-ago]")) {
      const seconds = Math.max(0, Math.floor((Date.now() + skew - Number(age.dataset.ago)) / 1000));
      age.textContent = seconds < 60 ? seconds + " s" : seconds < 3600 ? Math.floor(seconds / 60) + " min" : Math.floor(seconds / 3600) + " h";
    }
  };
  // Ends that a person chooses stand in their own time, too.
  const ends = (root) => {
    for (const end of all("[data-end]", root)) {
      const at = new Date((one("time", end) || {}).dateTime);
      if (isNaN(at) || at.getTimezoneOffset() === 0 || one("[data-local]", end)) continue;
      const local = document.createElement("span");
      local.dataset.local = "";
      local.textContent = ", " + at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) + " in " + zone;
      end.append(local);
    }
  };
  // The server's clock decides what "ago" means, not the reader's.
  const served = Number(document.body.dataset.now);
  let skew = served ? served - Date.now() : 0;

  // Live: a tick fetches this page again and replaces the marked figures in place. Rows never move:
  // when the page would have another shape, the strip offers the update instead.
  let busy = false, again = false, due = 0, measured = served, missed = 0, last = "";
  // Several events of one moment are one look.
  const refresh = () => { if (!due) due = setTimeout(() => { due = 0; look(); }, 50); };
  const look = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store", redirect: "error" });
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { lost(); }
    busy = false;
    if (again) { again = false; refresh(); }
  };
  const take = (fresh) => {
    skew = Number(fresh.body.dataset.now) - Date.now();
    measured = Date.now() + skew;
    // Lists have a shape of their own; one that has none yet is still being read and may be filled in.
    const moved = [], lists = new Set();
    const compare = (now, then, key) => {
      if (now && then && now.dataset.shape && now.dataset.shape !== then.dataset.shape) { moved.push(key + then.dataset.shape); lists.add(now); }
    };
    compare(one("main"), one("main", fresh), "");
    for (const now of all("[data-live]")) {
      const then = one('[data-live="' + CSS.escape(now.dataset.live) + '"]', fresh);
      compare(now, then, now.dataset.live);
      if (!then || lists.has(now) || now.contains(document.activeElement) || now.innerHTML === then.innerHTML) continue;
      now.dataset.shape = then.dataset.shape || "";
      const open = all("details", now).map((details) => details.open);
      now.className = then.className;
      now.replaceChildren(...[...then.childNodes].map((node) => document.importNode(node, true)));
      all("details", now).forEach((details, i) => { details.open = open[i] || false; });
      localTimes(now);
    }
    if (moved.length && moved.join() !== last) {
      last = moved.join();
      missed += 1;
      const updates = one("#updates");
      updates.textContent = missed + (missed === 1 ? " update, show" : " updates, show");
      updates.hidden = false;
    }
    ages();
  };
  const lost = () => {
    const live = one("#live");
    if (!live || live.dataset.lost) return;
    live.dataset.lost = "1";
    live.textContent = "Connection lost " + hhmm(Date.now() + skew) + "; figures are of " + hhmm(measured);
    one(".trust").classList.add("bad");
  };
  const found = () => {
    const live = one("#live");
    if (live && live.dataset.lost) { delete live.dataset.lost; one(".trust").classList.remove("bad"); refresh(); }
  };
  if (window.EventSource && one("#live")) {
    const events = new EventSource("/events?after=" + encodeURIComponent(document.body.dataset.event || ""));
    for (const name of ["tick", "incident", "slo", "rules"]) events.addEventListener(name, refresh);
    events.onerror = lost;
    events.onopen = found;
    addEventListener("pagehide", () => events.close());
    setInterval(ages, 5000);
  }

  // Keys
  const typing = (target) => target.closest("input,textarea,select,[contenteditable]");
  const pages = { c: "/", o: "/overview", s: "/slos", r: "/rules", t: "/health", n: "/notifications" };
  let go = false;
  const row = (step) => {
    const rows = all("[data-row] a[href]").filter((link, i, links) => links.findIndex((other) => other.closest("[data-row]") === link.closest("[data-row]")) === i);
    const at = rows.findIndex((link) => link.closest("[data-row]").contains(document.activeElement));
    const next = rows[Math.min(rows.length - 1, Math.max(0, at + step))];
    if (next) next.focus();
  };
  const press = (name) => {
    const thing = all('[data-key="' + name + '"]').find((candidate) => candidate.offsetParent !== null);
    if (!thing) return;
    if (thing.matches("textarea,input")) thing.focus(); else thing.click();
  };
  if (document.body.dataset.keys !== "off") {
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      const key = event.key;
      if (go) { go = false; if (pages[key]) location.href = pages[key]; return; }
      if (key === "g") { go = true; setTimeout(() => { go = false; }, 1500); }
      else if (key === "?") { const help = one("#keys"); if (help && help.showModal) help.showModal(); }
      else if (key === "j" || key === "k") row(key === "j" ? 1 : -1);
      else if (key === "/") { const search = one("input[type=search]"); if (search) { event.preventDefault(); search.focus(); } else location.href = "/incidents"; }
      else if (key === "u") { const updates = one("#updates"); if (updates && !updates.hidden) location.reload(); }
      else if ("asn".includes(key)) { event.preventDefault(); press(key); }
    });
  }

  localTimes(document);
  ends(document);
  const outcome = one("#outcome");
  if (outcome) outcome.focus();
})();

/* The timeline: one entry a step, grouped by the picture that the step is for. */

const made = new Map(); // entry -> what it showed and its button: only what changed is made anew

function entryButton(item, at) {
  const facts = [language, at, item.kind, item.image, item.done, isRunning(), factsOf(item), critiquesOf(item, at), item.kind === "answer" && view.head.score?.solved];
  const key = JSON.stringify(facts);
  const old = made.get(item.id);
  if (old?.key === key) return old.button;
  const button = timelineItem(item, at);
  made.set(item.id, { key, button });
  return button;
}

function showTimeline() {
  const groups = [];
  view.path.forEach((item, at) => {
    const name = item.kind === "start" ? t("frame.start") : item.kind === "answer" ? t("frame.answer") : t("frame.n", { n: item.frame });
    if (groups.at(-1)?.name !== name) groups.push({ name, entries: [] });
    groups.at(-1).entries.push(entryButton(item, at));
  });
  const had = $("timeline").contains(document.activeElement);
  const left = $("timeline").scrollLeft;
  $("timeline").replaceChildren(...groups.map(({ name, entries }) => make("li", {}, make("div", { className: "lead" }, name), make("div", { className: "group" }, ...entries))));
  $("timeline").scrollLeft = left;
  if (had) $("timeline").querySelector("[aria-current]")?.focus({ preventScroll: true });
}

function timelineItem(item, at) {
  const critiques = critiquesOf(item, at);
  const picture = drawn(item) || item.kind === "start" ? view.pictures.get(item.image) : null;
  const settled = view.path.some((step) => step.frame === item.frame && step.keeps !== null && step.keeps !== undefined);
  const sign = shape("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
  sign.append(shape("path", { d: SIGNS[item.kind] }));
  const thumb = make("span", { className: item.kind === "critique" ? "thumb with-dots" : "thumb" }, picture ? make("img", { src: picture.src, alt: altOf(item, picture) }) : sign);
  const dots = item.kind !== "critique" ? null : make("span", { className: "dots", attrs: { "aria-hidden": "true" } },
    ...["model", "program"].map((by) => critiques.find((one) => one.by === by)).map((one) => make("i", { className: one ? (one.ok ? "ok" : "no") : "" })));
  if (dots) thumb.append(dots);
  const verdict = item.kind === "answer" && view.head.score ? (view.head.score.solved ? "ok" : "no") : verdictClass(critiques);
  const words = critiques.map((one) => `${known(`by.${one.by}`) ? t(`by.${one.by}`) : one.by}: ${t(one.ok ? "verdict.ok" : "verdict.no")} ${faultText(one)}`);
  return make("button", {
    type: "button", data: { at, kind: item.kind }, attrs: { "aria-label": [kindName(item.kind), ...factsOf(item), ...words].join(", "), tabindex: at === view.at ? "0" : "-1" },
    className: ["item", picture ? "" : "slim", verdict, live(item) ? "now" : "", drawn(item) && settled && !keptFor(item.id) ? "dropped" : ""].filter(Boolean).join(" "),
    on: { click: () => goTo(at) },
  }, thumb, make("span", {}, kindName(item.kind)), make("span", {}, item.id === null || !item.done ? " " : t("fact.seconds", { s: item.seconds.toFixed(2) })));
}

function showPlace() {
  const last = Math.max(0, view.path.length - 1);
  for (const button of $("timeline").querySelectorAll(".item")) {
    const now = Number(button.dataset.at) === view.at;
    button.toggleAttribute("aria-current", now);
    if (now) button.setAttribute("aria-current", "step");
    button.tabIndex = now ? 0 : -1;
    if (now) reveal(button);
  }
  $("scrub").max = String(last);
  $("scrub").value = String(view.at);
  $("where").textContent = view.path.length ? t("step.of", { at: view.at, all: last }) : "";
  $("scrub").setAttribute("aria-valuetext", [$("where").textContent, view.path[view.at] ? kindName(view.path[view.at].kind) : ""].join(" "));
  for (const [id, off] of [["first", view.at === 0], ["back", view.at === 0], ["next", view.at === last], ["last", view.at === last], ["play", last === 0]]) $(id).disabled = off;
  $("play").classList.toggle("playing", Boolean(view.playing));
  $("play").setAttribute("aria-label", t(view.playing ? "pause" : "play"));
  $("play").title = t(view.playing ? "pause" : "play");
}

function reveal(button) {
  const list = $("timeline");
  const [outer, inner] = [list.getBoundingClientRect(), button.getBoundingClientRect()];
  if (inner.left < outer.left + 40 || inner.right > outer.right - 40) list.scrollLeft += inner.left - outer.left - outer.width / 2;
}

/* The trace: one picture large, the words beside it, every step on the timeline. All of it works without the server. */

const SIGNS = {
  think: "M5 6.5h14v9H11l-4 3.5v-3.5H5zM9 10h6M9 12.7h3.5", critique: "M3 12s3.4-5.5 9-5.5 9 5.5 9 5.5-3.4 5.5-9 5.5S3 12 3 12zM12 9.6a2.4 2.4 0 1 0 0 4.8 2.4 2.4 0 0 0 0-4.8",
  answer: "M5 19V5m0 1h12l-2.5 3.5L17 13H5", start: "M5 5h14v14H5zM5 12h7v7", draw: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3", revise: "M6 9a7 7 0 1 1-1 5M6 4v5h5",
};

/** What is shown: a trace as the server describes it, and the visitor's place in it. */
const view = {
  head: null, steps: [], pictures: new Map(), origin: "none", source: null,
  path: [], at: 0, follow: false, playing: null, mode: "after", own: false, told: null, latent: null,
};

function clearView(origin, source = null) {
  pause();
  made.clear();
  Object.assign(view, { head: null, steps: [], pictures: new Map(), origin, source, path: [], at: 0, follow: false, told: null, latent: null });
}

/** Take what the server sends: new or changed steps, new pictures, the facts of the whole run. */
function takePatch(patch) {
  if (patch.head) view.head = patch.head;
  for (const [key, picture] of Object.entries(patch.pictures ?? {})) view.pictures.set(key, picture);
  for (const step of Object.values(patch.steps ?? {})) view.steps[step.id] = step;
  const stay = view.path[view.at]?.id;
  view.path = pathOf(patch.leaf ?? view.steps.length - 1);
  const found = view.path.findIndex((item) => item.id === stay);
  view.at = view.follow ? view.path.length - 1 : Math.max(0, found);
}

/** The entries of one run in order: the maze itself, then the steps from the first to the leaf. */
function pathOf(leaf) {
  const found = [];
  for (let step = view.steps[leaf]; step; step = step.parent === null ? null : view.steps[step.parent]) found.unshift(step);
  return view.head ? [{ id: null, kind: "start", frame: 0, done: true, image: view.head.start, critiques: [], latents: [] }, ...found] : [];
}

// ---- what belongs to an entry

const upTo = (at) => view.path.slice(0, at + 1);
const stepOf = (id) => (id === null || id === undefined ? null : view.steps[id] ?? null);
const thoughtOf = (item, at) => (item.kind === "answer" ? item : upTo(at).findLast((step) => step.kind === "think" && step.frame === item.frame) ?? null);
const keptFor = (id) => view.path.find((step) => step.keeps === id)?.stop ?? null;
const drawn = (item) => item.kind === "draw" || item.kind === "revise";

/** Under way: a step that a stopped run left unfinished is not. */
const live = (item) => !item.done && isRunning();

/** The picture step that an entry is about: itself, the one it judges, or the last one kept. */
function pictureStep(item, at) {
  if (drawn(item)) return item;
  if (item.kind === "critique") return stepOf(item.of) ?? upTo(at).findLast(drawn) ?? null;
  return null;
}

function picturesOf(item, at) {
  const step = pictureStep(item, at);
  if (step) return { now: step.image ?? step.before, before: step.before, changed: step.image ? step.changed : [] };
  if (item.kind === "start") return { now: item.image, before: item.image, changed: [] };
  const earlier = upTo(at - 1).findLast((other) => drawn(other) && keptFor(other.id)) ?? upTo(at - 1).findLast(drawn);
  const now = item.before ?? earlier?.image ?? view.head.start;
  return { now, before: now, changed: [] };
}

function critiquesOf(item, at) {
  if (item.kind === "critique") return item.critiques;
  const step = pictureStep(item, at);
  return step ? view.path.find((other) => other.kind === "critique" && other.of === step.id)?.critiques ?? [] : [];
}

const verdictClass = (critiques) => {
  if (!critiques.length) return "";
  const oks = critiques.map((critique) => critique.ok);
  return oks.every(Boolean) ? "ok" : oks.some(Boolean) ? "split" : "no";
};

const faultText = (critique) => {
  const fault = critique.fault === null ? "" : known(`fault.${critique.fault}`) ? t(`fault.${critique.fault}`) : critique.fault;
  return fault && critique.where ? t("verdict.at", { fault, where: critique.where }) : fault;
};

// ---- drawing the parts of the page

function showAll() {
  showTimeline();
  showEntry();
}

function showEntry() {
  const item = view.path[view.at];
  $("trace-title").textContent = t(`source.${view.origin}`) + (view.head ? ` · ${view.head.size} × ${view.head.size} · ${view.head.model}` : "");
  showRuns();
  showStage(item);
  showWords(item);
  showPlace();
  showInside(item);
  showBranch(item);
}

function altOf(item, picture) {
  const none = t("alt.nowhere");
  const facts = { size: view.head.size, frame: item.frame, kind: t(`kind.${item.kind}`), ...picture, agent: picture?.agent ?? none, goal: picture?.goal ?? none };
  return t(item.kind === "start" ? "alt.start" : "alt.step", facts);
}

function showStage(item) {
  const size = view.head?.size ?? maker.rows.length;
  for (const [id, name] of [["rule-x", (i) => String.fromCharCode(97 + i)], ["rule-y", (i) => String(i + 1)]]) {
    $(id).style.display = "grid";
    $(id).style.gridTemplate = id === "rule-x" ? `auto / repeat(${size}, 1fr)` : `repeat(${size}, 1fr) / auto`;
    $(id).replaceChildren(...Array.from({ length: size }, (_, i) => make("span", {}, name(i))));
  }
  $("picture").hidden = !item;
  $("overlay").replaceChildren();
  showOwn(item);
  if (!item) return showMaze();
  const { now, before, changed } = picturesOf(item, view.at);
  const [shown, old] = [view.pictures.get(now), view.pictures.get(before)];
  const same = now === before;
  const mode = same ? "after" : view.mode;
  const front = mode === "before" ? old : shown;
  const critiques = critiquesOf(item, view.at);
  const faults = critiques.filter((critique) => !critique.ok && critique.where);
  setPicture($("picture"), srcOf(front), mode === "before" ? t("alt.before") : drawn(item) && live(item) ? t("alt.preview")
    : [altOf(item, front), ...faults.map((critique) => t("alt.fault", { fault: faultText({ ...critique, where: null }), where: critique.where }))].join(" "));
  $("picture-before").hidden = $("wipe-line").hidden = $("wipe").hidden = mode !== "wipe";
  if (mode === "wipe") {
    setPicture($("picture-before"), srcOf(old), t("alt.before"));
    showWipe();
  }
  $("plate").classList.toggle("drawing", drawn(item) && live(item));
  for (const button of $("compare").children) {
    button.setAttribute("aria-checked", String(button.dataset.mode === mode));
    button.tabIndex = button.dataset.mode === mode ? 0 : -1;
    button.disabled = same;
  }
  $("changed").textContent = !pictureStep(item, view.at) ? "" : changed.length ? t("changed.n", { cells: changed.join(" ") }) : item.done ? t("changed.none") : "";
  drawOverlay(size, mode === "before" ? [] : changed, mode === "before" ? [] : faults, item);
}

/** Before any run: the maze on the left, large. */
function showMaze() {
  const n = maker.rows.length;
  for (const id of ["picture-before", "wipe-line", "wipe"]) $(id).hidden = true;
  for (const button of $("compare").children) button.disabled = true;
  $("changed").textContent = "";
  $("overlay").setAttribute("viewBox", `0 0 ${n || 1} ${n || 1}`);
  maker.rows.forEach((row, r) => [...row].forEach((tile, c) => {
    $("overlay").append(shape("rect", { x: c, y: r, width: 1.01, height: 1.01, class: tile === "#" ? "tile-dark" : "tile-light" }));
    if (tile === "S") $("overlay").append(shape("rect", { x: c + .25, y: r + .25, width: .5, height: .5, class: "mark-agent" }));
    if (tile === "G") $("overlay").append(shape("rect", { x: c + .125, y: r + .125, width: .75, height: .75, class: "goal-ring" }));
  }));
}

function setPicture(img, src, alt) {
  if (src && img.src !== src) img.src = src;
  img.alt = alt;
}

function showWipe() {
  const part = Number($("wipe").value);
  $("picture-before").style.clipPath = `inset(0 ${100 - part}% 0 0)`;
  $("wipe-line").style.left = `${part}%`;
}

function drawOverlay(size, changed, faults, item) {
  const layer = $("overlay");
  layer.setAttribute("viewBox", overlayBox(size));
  const box = (name, className, inset) => {
    const place = cellAt(name);
    if (!place || place[0] >= size || place[1] >= size) return;
    layer.append(shape("rect", { x: place[1] + inset, y: place[0] + inset, width: 1 - 2 * inset, height: 1 - 2 * inset, rx: .08, class: className, "data-cell": name }));
  };
  const latent = view.latent === null ? null : thoughtOf(item, view.at)?.latents[view.latent];
  if (latent?.heat.length) drawHeat(layer, latent, size);
  for (const name of changed) box(name, "mark-changed", .05);
  for (const { where } of faults) {
    box(where, "mark-fault", .02);
    const [row, col] = cellAt(where) ?? [-9, -9];
    layer.append(shape("path", { d: `M${col + .3} ${row + .3}l.4 .4m0 -.4l-.4 .4`, class: "mark-cross" }));
  }
  if (view.told) box(view.told, "mark-told", .02);
  if (item.kind === "answer" && item.id === view.steps.length - 1 && view.head.route.length > 1) {
    layer.append(shape("path", { d: "M" + view.head.route.map(([row, col]) => `${col + .5} ${row + .5}`).join("L"), class: "mark-route" }));
  }
}

function drawHeat(layer, latent, size) {
  const [rows, cols] = latent.grid;
  const top = Math.max(...latent.heat, 1e-9);
  latent.heat.forEach((value, index) => layer.append(shape("rect", {
    x: (index % cols) * size / cols, y: Math.floor(index / cols) * size / rows, width: size / cols, height: size / rows,
    class: "mark-heat", "fill-opacity": (.75 * value / top).toFixed(3),
  })));
}

/** A thought as text in which every cell's name is a button that shows the cell. The model sets its points apart; readers do not. */
function thoughtNodes(text) {
  return text.replace(/ ([.:])/g, "$1").split(/\b([a-p]\d{1,2})\b/).map((piece, index) => (index % 2 === 0 ? piece : make("button", {
    type: "button", className: "cell",
    on: Object.fromEntries([["mouseenter", piece], ["focus", piece], ["mouseleave", null], ["blur", null]].map(([name, cell]) => [name, () => tellCell(cell)])),
  }, piece)));
}

function tellCell(name) {
  view.told = name;
  showStage(view.path[view.at]);
}

/** In Chinese, what a thought says, besides the model's own words. */
function gloss(text) {
  const words = text.trim();
  const grey = /^dead ends : (.+) \. grey them/.exec(words);
  const go = /agent at (\w+) \. go (\w+)/.exec(words);
  if (grey) return t("gloss.grey", { cells: grey[1] });
  if (go) return t("gloss.go", { at: go[1], move: t(`move.${go[2]}`) });
  return /\bdone\b/.test(words) ? t("gloss.done") : "";
}

function showWords(item) {
  $("step-kind").textContent = item ? t(`kind.${item.kind}`) : "";
  $("step-facts").textContent = item ? factsOf(item).join(" · ") : "";
  const thought = item ? thoughtOf(item, view.at) : null;
  const text = thought?.thought ?? "";
  $("loop").hidden = Boolean(item?.frame);
  $("thought-title").hidden = !item?.frame;
  $("thought-title").textContent = t(item?.kind === "answer" ? "answers" : "thinks");
  $("thought").replaceChildren(...(item?.frame ? thoughtNodes(text) : [t(item ? "before" : "empty")]));
  $("thought").classList.toggle("live", Boolean(thought && live(thought)));
  $("thought").classList.toggle("ghost", !item || thought !== item);
  $("gloss").textContent = text ? gloss(text) : "";
  $("gloss").hidden = !$("gloss").textContent;
  $("verdict-box").hidden = !item || item.kind === "answer" || item.kind === "start";
  showVerdicts(item);
  showAnswer();
}

function factsOf(item) {
  const facts = [item.kind === "start" ? null : item.kind === "answer" ? null : t("frame.n", { n: item.frame })];
  if (item.round) facts.push(t("fact.round", { n: item.round }));
  if (item.done && item.id !== null) facts.push(t("fact.seconds", { s: item.seconds.toFixed(2) }));
  if (drawn(item) && item.done && item.stats.passes) facts.push(t("fact.passes", { passes: item.stats.passes, tokens: item.stats.tokens }));
  if (item.edited) facts.push(t("fact.edited"));
  if (drawn(item) && item.done) {
    const settled = view.path.some((step) => step.frame === item.frame && step.keeps !== null && step.keeps !== undefined);
    if (settled) facts.push(t(keptFor(item.id) ? "fact.kept" : "fact.dropped"));
  }
  return facts.filter(Boolean);
}

function showVerdicts(item) {
  const critiques = item ? critiquesOf(item, view.at) : [];
  const others = critiques.map((critique) => critique.by).filter((by) => by !== "model" && by !== "program");
  $("verdicts").replaceChildren(...["model", "program", ...others].map((by) => {
    const critique = critiques.find((one) => one.by === by);
    const name = known(`by.${by}`) ? t(`by.${by}`) : by;
    if (!critique) return make("div", { className: "verdict none", data: { by } }, make("header", {}, make("span", {}, name)), t("verdict.none"));
    const sure = by === "program" ? t("verdict.exact") : by === "visitor" ? "" : t("verdict.sure", { percent: Math.round(critique.confidence * 100) });
    return make("div", { className: `verdict ${critique.ok ? "ok" : "no"}`, data: { by } },
      make("header", {}, make("span", {}, name), make("span", {}, sure)),
      make("strong", {}, `${critique.ok ? "✓" : "✗"} ${t(critique.ok ? "verdict.ok" : "verdict.no")}`), critique.ok ? "" : faultText(critique));
  }));
  const [one, two] = ["model", "program"].map((by) => critiques.find((critique) => critique.by === by));
  const key = !one || !two ? "" : one.ok !== two.ok ? "agree.split" : one.ok ? "agree.ok" : one.fault === two.fault && one.where === two.where ? "agree.no" : "agree.fault";
  $("agreement").textContent = key ? t(key) : "";
  $("agreement").classList.toggle("split", key === "agree.split");
}

function showAnswer() {
  const head = view.head;
  const latest = view.path.at(-1)?.id === view.steps.length - 1;
  const shown = Boolean(head?.reason) && latest && (head.answer !== "" || head.score !== null) && view.at >= view.path.length - 1;
  $("answer").hidden = !shown;
  if (!shown) return;
  $("answer-moves").textContent = head.moves.length ? head.moves.map((move) => (known(`move.${move}`) ? t(`move.${move}`) : move)).join(" · ") : head.answer;
  const verdict = head.score === null ? "none" : head.score.solved ? "ok" : "no";
  $("answer-verdict").className = `final ${verdict}`;
  $("answer-verdict").textContent = `${{ ok: "✓", no: "✗", none: "–" }[verdict]} ${t(`final.${verdict}`)}`;
  $("answer-why").textContent = head.score ? [t("final.why", { legal: head.score.legal_frames, frames: head.score.frames }), t(head.score.moves_right ? "final.moves" : "final.nomoves")].join(" ") : "";
}

/** The runs in this trace, where it was branched: which one to look at. */
function showRuns() {
  const leaves = view.head?.leaves ?? [];
  $("branches").hidden = leaves.length < 2 || isRunning();
  $("branches").replaceChildren(...leaves.map((leaf, index) => make("button", {
    type: "button", data: { leaf }, attrs: { role: "radio", "aria-checked": String(leaf === view.path.at(-1)?.id), tabindex: leaf === view.path.at(-1)?.id ? "0" : "-1" },
    on: { click: () => pickRun(leaf) },
  }, t("branch.n", { n: index + 1 }))));
}

function pickRun(leaf) {
  pause();
  view.path = pathOf(leaf);
  view.at = Math.min(view.at, view.path.length - 1);
  showAll();
}

// ---- timeline

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
    type: "button", data: { at, kind: item.kind }, attrs: { "aria-label": [t(`kind.${item.kind}`), ...factsOf(item), ...words].join(", "), tabindex: at === view.at ? "0" : "-1" },
    className: ["item", picture ? "" : "slim", verdict, live(item) ? "now" : "", drawn(item) && settled && !keptFor(item.id) ? "dropped" : ""].filter(Boolean).join(" "),
    on: { click: () => goTo(at) },
  }, thumb, make("span", {}, t(`kind.${item.kind}`)), make("span", {}, item.id === null || !item.done ? " " : t("fact.seconds", { s: item.seconds.toFixed(2) })));
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
  $("scrub").setAttribute("aria-valuetext", [$("where").textContent, view.path[view.at] ? t(`kind.${view.path[view.at].kind}`) : ""].join(" "));
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

// ---- moving about

function goTo(at, byHand = true) {
  if (byHand) pause();
  view.at = Math.max(0, Math.min(view.path.length - 1, at));
  if (byHand) view.follow = view.at === view.path.length - 1;
  view.told = view.latent = null;
  showEntry();
}

function play() {
  if (view.playing || view.path.length < 2) return;
  if (view.at >= view.path.length - 1) view.at = 0;
  const beat = () => {
    if (view.at >= view.path.length - 1) return pause();
    goTo(view.at + 1, false);
    view.playing = setTimeout(beat, { think: 1100, critique: 900 }[view.path[view.at].kind] ?? 750);
    return showPlace();
  };
  view.playing = setTimeout(beat, 250);
  showEntry();
}

function pause() {
  clearTimeout(view.playing);
  view.playing = null;
  showPlace();
}

const setMode = (mode) => {
  view.mode = mode;
  showStage(view.path[view.at]);
};

// ---- look inside, branch

function showInside(item) {
  const latents = item ? thoughtOf(item, view.at)?.latents ?? [] : [];
  $("inside-hint").textContent = t(!latents.length ? "inside.none" : view.latent !== null && !latents[view.latent]?.heat.length ? "inside.noheat" : "inside.hint");
  const had = $("latents").contains(document.activeElement);
  $("latents").replaceChildren(...latents.map((latent, index) => make("button", {
    type: "button", className: "latent", attrs: { role: "option", "aria-selected": String(index === view.latent) }, on: { click: () => pickLatent(index) },
  }, make("b", {}, latent.token), ...latent.words.slice(0, 3).map(([word, share]) => make("span", {},
    make("i", { style: { width: `${Math.round(share * 100)}%` } }), `${word} ${Math.round(share * 100)} %`)))));
  if (had && view.latent !== null) $("latents").children[view.latent]?.focus();
}

function pickLatent(index) {
  const thought = thoughtOf(view.path[view.at], view.at);
  const at = view.path.indexOf(thought);
  const again = view.latent === index && at === view.at;
  if (at >= 0 && at !== view.at) goTo(at);
  view.latent = again ? null : index;
  showEntry();
}

function showBranch(item) {
  const step = item && item.id !== null ? thoughtOf(item, view.at) ?? item : null;
  if (document.activeElement === $("branch-thought") && $("branch-thought").dataset.step === String(step?.id)) return;
  $("branch-thought").value = step?.thought ?? "";
  $("branch-thought").dataset.step = String(step?.id);
  $("branch-thought").disabled = !step || step.kind !== "think";
  $("branch-go").disabled = !step || !item.done || isRunning();
}

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
  const { head } = view;
  const what = !head ? "" : head.task === "maze" ? `${head.size} × ${head.size}` : t(`task.${head.task}`);
  $("trace-title").textContent = [t(`source.${view.origin}`), what, head?.model].filter(Boolean).join(" · ");
  $("asked").textContent = sentence(head?.asked ?? "");
  $("asked").hidden = !head?.asked;
  showRuns();
  showStage(item);
  showWords(item);
  showPlace();
  showInside(item);
  showBranch(item);
  showBreak(item);
}

function altOf(item, picture) {
  const none = t("alt.nowhere");
  const facts = { size: view.head.size, frame: item.frame, kind: kindName(item.kind), words: "", ...picture, agent: picture?.agent ?? none, goal: picture?.goal ?? none };
  return t(`${item.kind === "start" ? "alt.start" : "alt.step"}${view.head.task === "maze" ? "" : ".words"}`, facts);
}

function showStage(item) {
  const size = view.head?.size ?? maker.rows.length;
  const points = Boolean(view.head?.points);
  const marks = size - Number(points);
  for (const [id, name] of [["rule-x", (i) => String.fromCharCode(97 + i)], ["rule-y", (i) => String(i + 1)]]) {
    $(id).style.display = "grid";
    const tracks = points ? `.5fr repeat(${marks}, 1fr) .5fr` : `repeat(${marks}, 1fr)`;
    $(id).style.gridTemplate = id === "rule-x" ? `auto / ${tracks}` : `${tracks} / auto`;
    const spans = Array.from({ length: marks }, (_, i) => make("span", {}, name(i)));
    $(id).replaceChildren(...(points ? [make("span")] : []), ...spans);
  }
  for (const id of ["stage", "break-plate"]) $(id).classList.toggle("smooth", shownTask() !== "maze");
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
  $("changed").textContent = !pictureStep(item, view.at) ? "" : changed.length ? (points ? t("changed.squares", { n: changed.length }) : t("changed.n", { cells: changed.join(" ") })) : item.done ? t("changed.none") : "";
  drawOverlay(size, mode === "before" ? [] : changed, mode === "before" ? [] : faults, item);
}

/** Before any run: the maze on the left, large. */
function showMaze() {
  const n = maker.rows.length;
  for (const id of ["picture-before", "wipe-line", "wipe"]) $(id).hidden = true;
  for (const button of $("compare").children) button.disabled = true;
  $("changed").textContent = "";
  $("overlay").setAttribute("viewBox", `0 0 ${n || 1} ${n || 1}`);
  if (tasks.chosen === "maze") maker.rows.forEach((row, r) => [...row].forEach((tile, c) => {
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
  const latent = view.latent === null ? null : thoughtOf(item, view.at)?.latents[view.latent];
  if (latent?.heat.length) drawHeat(layer, latent, size, Math.max(...latent.heat, 1e-9));
  else if (item.kind === "critique") for (const { doubts } of item.critiques) drawHeat(layer, doubts, size, 1);
  for (const name of changed) markPlace(layer, name, "mark-changed", size, false, .05);
  markFaults(layer, faults, size, view.head.points);
  if (view.told) markPlace(layer, view.told, "mark-told", size, view.head.points, .02);
  if (item.kind === "answer" && item.id === view.steps.length - 1 && view.head.route.length > 1) {
    layer.append(shape("path", { d: "M" + view.head.route.map(([row, col]) => `${col + .5} ${row + .5}`).join("L"), class: "mark-route" }));
  }
}

/** A frame around a square of the picture's grid, or a ring around one of its corners. */
function markPlace(layer, name, className, size, points, inset) {
  const place = cellAt(name);
  if (!place || place[0] >= size || place[1] >= size) return;
  const [row, col] = place;
  layer.append(points ? shape("circle", { cx: col + 1, cy: row + 1, r: .42 - inset, class: className, "data-cell": name })
    : shape("rect", { x: col + inset, y: row + inset, width: 1 - 2 * inset, height: 1 - 2 * inset, rx: .08, class: className, "data-cell": name }));
}

function markFaults(layer, faults, size, points) {
  for (const { where } of faults) {
    markPlace(layer, where, "mark-fault", size, points, .02);
    const [row, col] = cellAt(where) ?? [-9, -9];
    const middle = points ? 1 : .5;
    layer.append(shape("path", { d: `M${col + middle - .2} ${row + middle - .2}l.4 .4m0 -.4l-.4 .4`, class: "mark-cross" }));
  }
}

/** Squares shaded by how near their values come to a top one. */
function drawHeat(layer, { heat, grid: [rows, cols] }, size, top) {
  heat.forEach((value, index) => layer.append(shape("rect", {
    x: (index % cols) * size / cols, y: Math.floor(index / cols) * size / rows, width: size / cols, height: size / rows,
    class: "mark-heat", "fill-opacity": (.75 * value / top).toFixed(3),
  })));
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

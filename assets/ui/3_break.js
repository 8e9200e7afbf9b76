/* Break this picture: the visitor damages a copy of a drawn picture, and the model and the program say what they see. */

/** Tools by task. A "change" is done by the server, which knows the task's pictures; a brush stroke is paint on a layer of its own. */
const TOOLS = {
  maze: [["paint", "kind"], ["brush", "ink"]],
  geometry: [["move", null], ["erase", null], ["brush", "ink"]],
  compose: [["recolour", "colour"], ["move", null], ["erase", null], ["brush", "ink"]],
};
const INKS = {
  maze: ["#1f2937", "#f4efe6", "#2563eb", "#22c55e", "#9ca3af"], geometry: ["#ffffff", "#ea580c", "#1f2937"], compose: ["#ffffff", "#ef4444", "#2563eb", "#22c55e", "#1f2937"],
};
const KINDS = { wall: "tile-wall", floor: "tile-floor", grey: "tile-grey", trail: "tile-trail", agent: "tile-start", goal: "tile-goal" };

const broken = {
  step: null, source: null, src: "", did: [], tool: null, choice: {}, cursor: [0, 0], held: null, stroke: null, job: null, verdicts: [], critique: null, busy: false, turn: 0,
};

const taskTools = () => TOOLS[view.head?.task] ?? [];
const toolRow = () => taskTools().find(([name]) => name === broken.tool) ?? taskTools()[0] ?? [null, null];
const breakSize = () => view.head.size - Number(view.head.points);
const changesOf = () => broken.did.filter((one) => one.change).map((one) => one.change);

function choicesOf(kind) {
  if (kind === "kind") return Object.keys(KINDS);
  if (kind === "colour") return Object.keys(WORLD.colours);
  return kind === "ink" ? INKS[view.head.task] : [];
}

/** What is shown here follows the timeline; damage that was done to a picture is dropped when another one is looked at. */
function showBreak(item) {
  if (!$("break").open) return;
  const step = item ? pictureStep(item, view.at) : null;
  const ready = Boolean(step?.done && step.image && view.source && !isRunning());
  $("break-hint").textContent = t(ready ? "break.hint" : isRunning() ? "break.running" : "break.none");
  $("break-body").hidden = !ready;
  if (ready && (broken.step !== step.id || broken.source !== view.source)) startBreak(step);
  if (ready) showBreakTools();
}

function startBreak(step) {
  Object.assign(broken, { step: step.id, source: view.source, src: view.pictures.get(step.image)?.src ?? "", did: [], held: null, stroke: null });
  if (!taskTools().some(([name]) => name === broken.tool)) broken.tool = taskTools()[0]?.[0] ?? null;
  forgetVerdicts();
  showDamage();
}

function forgetVerdicts() {
  broken.turn += 1;
  Object.assign(broken, { job: null, verdicts: [], critique: null, busy: false });
}

function showBreakTools() {
  const [tool, kind] = toolRow();
  const radio = (on) => ({ role: "radio", "aria-checked": String(on), tabindex: on ? "0" : "-1" });
  const refill = (id, nodes) => {
    const had = $(id).contains(document.activeElement);
    $(id).replaceChildren(...nodes);
    if (had) $(id).querySelector("[aria-checked=true]")?.focus();
  };
  refill("break-tools", taskTools().map(([name]) => make("button", {
    type: "button", data: { tool: name }, attrs: radio(name === tool), on: { click: () => { broken.tool = name; broken.held = null; showBreakTools(); showCursor(); } },
  }, t(`break.tool.${name}`))));
  const values = choicesOf(kind);
  const chosen = values.includes(broken.choice[kind]) ? broken.choice[kind] : values[0];
  if (kind) broken.choice[kind] = chosen;
  const face = (value) => (kind === "kind" ? make("i", { className: KINDS[value] }) : make("i", { style: { background: kind === "ink" ? value : `rgb(${WORLD.colours[value].join(",")})` } }));
  const name = (value) => (kind === "kind" ? t(`cellkind.${value}`) : kind === "colour" ? t(`colour.${value}`) : t(`ink.${value.slice(1)}`));
  refill("break-inks", values.map((value) => make("button", {
    type: "button", data: { ink: value }, title: name(value), attrs: { ...radio(value === chosen), "aria-label": name(value) },
    on: { click: () => { broken.choice[kind] = value; showBreakTools(); } },
  }, face(value))));
  $("break-inks").hidden = !values.length;
  $("break-word").textContent = broken.held ? t("break.held", { place: broken.held }) : t(`break.how.${tool}${tool === "brush" ? "" : `.${view.head.task}`}`);
  $("break-undo").disabled = $("break-clear").disabled = !broken.did.length || broken.busy;
  $("break-judge").disabled = broken.busy || !broken.did.length;
  showBreakVerdicts();
}

/** The damaged copy: what the server changed, the brush over it, the marks of the faults on top. */
function showDamage() {
  const image = $("break-picture");
  image.alt = t("break.alt", { n: broken.did.length });
  image.onload = () => {
    const layer = $("break-layer");
    [layer.width, layer.height] = [image.naturalWidth, image.naturalHeight];
    for (const { stroke } of broken.did) if (stroke) paintStroke(stroke);
    showCursor();
  };
  image.src = broken.src;
}

function paintStroke({ ink, points }) {
  const pen = $("break-layer").getContext("2d");
  const width = $("break-layer").width / 22;
  Object.assign(pen, { strokeStyle: ink, fillStyle: ink, lineWidth: width, lineCap: "round", lineJoin: "round" });
  pen.beginPath();
  if (points.length === 1) pen.arc(...points[0], width / 2, 0, 7);
  else points.forEach(([x, y], index) => pen[index ? "lineTo" : "moveTo"](x, y));
  pen[points.length === 1 ? "fill" : "stroke"]();
}

function showCursor() {
  const { size, points } = view.head;
  const layer = $("break-marks");
  layer.setAttribute("viewBox", `0 0 ${size} ${size}`);
  layer.replaceChildren();
  if (broken.held) markPlace(layer, broken.held, "mark-told", size, points, .04);
  if (document.activeElement === $("break-layer")) markPlace(layer, cellName(...broken.cursor), "mark-cursor", size, points, .06);
  for (const { doubts } of broken.verdicts) drawHeat(layer, doubts, size, 1);
  markFaults(layer, broken.verdicts.filter((critique) => !critique.ok && critique.where), size, points);
}

async function didChange(change) {
  const before = broken.did;
  broken.did = [...before, { change }];
  if (!(await redoChanges())) {
    broken.did = before;
    await redoChanges();
  }
}

/** Ask for the picture with all changes; false where the server refuses the last one. */
const redoChanges = () => attempt(async () => {
  forgetVerdicts();
  const { step, source } = broken;
  const changes = changesOf();
  const src = changes.length ? (await call("damage", source, step, changes)).src : view.pictures.get(view.steps[step].image).src;
  if (step !== broken.step || source !== broken.source) return true;
  broken.src = src;
  showDamage();
  showBreakTools();
  return true;
});

/** The tool at a place: at once, or in two steps for what is moved from here to there. */
function useTool(place) {
  const [tool, kind] = toolRow();
  if (tool === "move" && !broken.held) {
    broken.held = place;
    showBreakTools();
    return showCursor();
  }
  const at = tool === "move" ? broken.held : place;
  broken.held = null;
  if (tool === "move" && at === place) {
    showBreakTools();
    return showCursor();
  }
  return didChange({ tool, at, ...(tool === "move" ? { to: place } : kind ? { to: broken.choice[kind] } : {}) });
}

function didStroke(stroke) {
  forgetVerdicts();
  broken.did = [...broken.did, { stroke }];
  showDamage();
  showBreakTools();
}

// ---- pointer and keys

function breakSpot(event) {
  const box = $("break-layer").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

function placeAt([x, y]) {
  const { size, points } = view.head;
  const at = [y, x].map((part) => Math.max(0, Math.min(breakSize() - 1, points ? Math.round(part * size) - 1 : Math.floor(part * size))));
  broken.cursor = at;
  return cellName(...at);
}

function breakPointer(event) {
  const layer = $("break-layer");
  if (event.type === "pointerdown") {
    if (event.button !== 0 || broken.busy) return;
    event.preventDefault();
    layer.focus({ preventScroll: true });
    const spot = breakSpot(event);
    layer.setPointerCapture(event.pointerId);
    if (toolRow()[0] === "brush") broken.stroke = { ink: broken.choice.ink, points: [[spot[0] * layer.width, spot[1] * layer.height]] };
    else if (toolRow()[0] === "move" && !broken.held) useTool(placeAt(spot));
    else useTool(placeAt(spot));
  } else if (event.type === "pointermove" && broken.stroke) {
    const [x, y] = breakSpot(event);
    broken.stroke.points.push([x * layer.width, y * layer.height]);
    paintStroke({ ...broken.stroke, points: broken.stroke.points.slice(-2) });
  } else if (event.type === "pointerup" && broken.stroke) {
    const { stroke } = broken;
    broken.stroke = null;
    didStroke(stroke);
  } else if (event.type === "pointerup" && broken.held && placeAt(breakSpot(event)) !== broken.held) useTool(placeAt(breakSpot(event)));
}

function breakKey(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const act = event.key === " " || event.key === "Enter";
  if (event.ctrlKey || event.metaKey || event.altKey || broken.busy || !(step || act)) return;
  event.preventDefault();
  event.stopPropagation();
  if (step) {
    broken.cursor = broken.cursor.map((at, axis) => Math.max(0, Math.min(breakSize() - 1, at + step[axis])));
    $("break-layer").setAttribute("aria-label", `${t("break.canvas")}: ${cellName(...broken.cursor)}`);
    return void showCursor();
  }
  if (toolRow()[0] !== "brush") return void useTool(cellName(...broken.cursor));
  const { size, points } = view.head;
  const [y, x] = broken.cursor.map((at) => (at + (points ? 1 : .5)) / size);
  return void didStroke({ ink: broken.choice.ink, points: [[x * $("break-layer").width, y * $("break-layer").height]] });
}

function undoDamage() {
  const last = broken.did.at(-1);
  broken.did = broken.did.slice(0, -1);
  if (last?.change) return redoChanges();
  forgetVerdicts();
  showDamage();
  return showBreakTools();
}

function clearDamage() {
  const step = view.steps[broken.step];
  startBreak(step);
  showBreakTools();
}

// ---- both verdicts

const judgeDamage = () => attempt(async () => {
  forgetVerdicts();
  broken.busy = true;
  const { turn } = broken;
  showBreakTools();
  try {
    const painted = broken.did.some((one) => one.stroke);
    const { job } = await call("judge_damage", broken.source, broken.step, changesOf(), painted ? $("break-layer").toDataURL("image/png") : "", models.chosen);
    const end = await judged(job, turn);
    if (turn !== broken.turn) return;
    if (end.words) throw new Refused(end.words);
    Object.assign(broken, { job, critique: end.critique?.id ?? null, verdicts: end.critique?.critiques ?? [] });
  } finally {
    if (turn === broken.turn) broken.busy = false;
    showBreakTools();
    showCursor();
  }
});

/** Follow the short run to its critique: verdicts are shown as they come. */
async function judged(job, turn) {
  let critique = null;
  let words = "";
  for await (const patch of stream("follow", [job, view.steps.length])) {
    if (turn !== broken.turn) break;
    words = patch.words;
    for (const step of Object.values(patch.steps ?? {})) if (step.kind === "critique" && step.id >= view.steps.length) critique = step;
    broken.verdicts = critique?.critiques ?? [];
    showBreakVerdicts();
  }
  return { critique, words };
}

function showBreakVerdicts() {
  $("break-result").hidden = !broken.busy && !broken.verdicts.length;
  $("break-verdicts").replaceChildren(...["model", "program"].map((by) => verdictCard(by, broken.verdicts)));
  showAgreement($("break-agreement"), broken.verdicts);
  const wrong = broken.verdicts.filter((critique) => !critique.ok);
  $("break-repair").hidden = broken.busy || !broken.job || !wrong.length;
}

/** Go on from the damaged picture: whoever saw the fault says what is redrawn. */
const repair = () => attempt(async () => {
  if (isRunning()) throw new Refused(t("error.running"));
  const saw = (by) => broken.verdicts.some((critique) => critique.by === by && !critique.ok);
  const steer = settings.steer === "model" && !saw("model") ? "program" : settings.steer;
  const rest = settingsList().slice(1, 4);
  await begin("branch", broken.job, broken.critique, null, null, steer, ...rest, models.chosen);
  $("stage").scrollIntoView({ block: "start" });
});

function wireBreak() {
  $("break").addEventListener("toggle", () => { if ($("break").open) showBreak(view.path[view.at]); });
  for (const name of ["pointerdown", "pointermove", "pointerup"]) $("break-layer").addEventListener(name, breakPointer);
  $("break-layer").addEventListener("keydown", breakKey);
  for (const name of ["focus", "blur"]) $("break-layer").addEventListener(name, () => { if (broken.step !== null && view.head) showCursor(); });
  for (const [id, action] of [["break-judge", judgeDamage], ["break-undo", undoDamage], ["break-clear", clearDamage], ["break-repair", repair]]) $(id).addEventListener("click", action);
}

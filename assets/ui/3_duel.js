/* Compare two ways: the same problem twice, one run after the other, each with a small timeline of its own. */

/** What differs between the two ways: for each, the task's own name for it and what it changes in the request. */
const DUELS = {
  drawing: () => [{ name: "duel.draw" }, { name: "duel.glance", way: "glance" }],
  critique: () => [{ name: "duel.critique" }, { name: "duel.nocritique", settings: { critique: false } }],
  thoughts: () => [{ name: "duel.thoughts" }, { name: "duel.nothoughts", settings: { thoughts: "none" } }],
  seeds: () => [0, 1].map((more) => ({ name: "duel.seed", values: { seed: settings.seed + more }, settings: { seed: settings.seed + more, temperature: settings.temperature || 1 } })),
  models: () => duel.models.map((name) => ({ name: "duel.model", values: { name }, model: name })),
};

const duel = { kind: "drawing", sides: [], running: false, stopping: false, turn: 0, models: [] };

const duelKinds = () => Object.keys(DUELS).filter((kind) => kind !== "models" || models.rows.filter((row) => row.available).length > 1);

function showDuel() {
  const kinds = duelKinds();
  if (!kinds.includes(duel.kind)) duel.kind = kinds[0];
  const had = $("duel-kinds").contains(document.activeElement);
  $("duel-kinds").replaceChildren(...kinds.map((kind) => make("button", {
    type: "button", data: { kind }, disabled: duel.running, attrs: { role: "radio", "aria-checked": String(kind === duel.kind), tabindex: kind === duel.kind ? "0" : "-1" },
    on: { click: () => { duel.kind = kind; duel.sides = []; showDuel(); } },
  }, t(`duel.kind.${kind}`))));
  if (had) $("duel-kinds").querySelector("[aria-checked=true]")?.focus();
  $("duel-hint").textContent = t(`duel.hint.${duel.kind}`, { task: t(`task.${tasks.chosen}`) });
  $("duel-run").disabled = duel.running;
  $("duel-stop").disabled = !duel.running || duel.stopping;
  showDuelModels();
  if (!duel.sides.length) duel.sides = DUELS[duel.kind]().map(newSide);
  $("sides").hidden = duel.sides.every((side) => side.state === "idle");
  duel.sides.forEach((side, index) => showSide(side, index));
  $("duel-progress").textContent = duel.running ? t("duel.running", { n: duel.sides.findIndex((side) => side.state === "running") + 1 || 1 }) : duel.sides.every((side) => side.state === "done") ? t("duel.done") : "";
}

function showDuelModels() {
  $("duel-models").hidden = duel.kind !== "models";
  if (duel.kind !== "models") return;
  const names = models.rows.filter((row) => row.available).map((row) => row.name);
  if (duel.models.length !== 2) duel.models = [names[0], names[1] ?? names[0]];
  $("duel-models").replaceChildren(...[0, 1].map((index) => {
    const select = make("select", { disabled: duel.running, on: { change: (event) => { duel.models[index] = event.target.value; duel.sides = []; showDuel(); } } }, ...names.map((name) => make("option", { value: name }, name)));
    select.value = duel.models[index];
    return make("label", {}, make("span", {}, t("duel.side", { n: index + 1 })), select);
  }));
}

const newSide = (way) => ({ way, head: null, steps: [], pictures: new Map(), job: null, state: "idle", words: "", at: null });

function takeSide(side, patch) {
  if (patch.head) side.head = patch.head;
  for (const [key, picture] of Object.entries(patch.pictures ?? {})) side.pictures.set(key, picture);
  for (const step of Object.values(patch.steps ?? {})) side.steps[step.id] = step;
  side.words = patch.words;
}

// ---- running

const runDuel = () => attempt(async () => {
  const problem = problemNow();
  duel.turn += 1;
  const { turn } = duel;
  Object.assign(duel, { running: true, stopping: false, sides: DUELS[duel.kind]().map(newSide) });
  showDuel();
  $("sides").scrollIntoView({ block: "nearest" });
  try {
    for (const side of duel.sides) {
      if (duel.stopping || turn !== duel.turn) break;
      await runSide(side, problem);
    }
  } finally {
    duel.running = false;
    showDuel();
  }
});

async function runSide(side, problem) {
  const { way } = side;
  side.state = "running";
  showDuel();
  try {
    const model = way.model === undefined ? models.chosen : way.model;
    side.job = (await call("start", problem, { ...settings, ...way.settings }, model, way.way ?? "draw")).job;
    await followSide(side);
    if (side.words) notice(told(side.words));
  } finally {
    side.state = "done";
  }
}

/** Through lost connections too: what is here already is not asked for again. */
async function followSide(side) {
  for (let tries = 0; tries < 8; tries += 1) {
    try {
      for await (const patch of stream("follow", [side.job, side.steps.filter((step) => step?.done).length])) {
        tries = 0;
        takeSide(side, patch);
        showSide(side, duel.sides.indexOf(side));
        if (!patch.running) return;
      }
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    await new Promise((resume) => setTimeout(resume, Math.min(4000, 250 * 2 ** tries)));
  }
  throw new TypeError("lost");
}

const stopDuel = () => attempt(async () => {
  duel.stopping = true;
  showDuel();
  const side = duel.sides.find((one) => one.state === "running");
  if (side?.job) await call("stop", side.job);
});

// ---- one side

function showSide(side, index) {
  const { way, head } = side;
  const name = t(way.name, way.values ?? {});
  const shown = side.steps.filter((step) => step && drawn(step) && step.image);
  const at = side.at !== null && shown.some((step) => step.id === side.at) ? side.at : shown.at(-1)?.id ?? null;
  const picture = side.pictures.get(at === null ? head?.start : side.steps[at].image);
  const old = $("sides").children[index];
  const left = old?.querySelector(".strip")?.scrollLeft ?? 0;
  const held = old?.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  const node = make("article", { className: `side ${side.state}${head && head.task !== "maze" ? " smooth" : ""}`, data: { side: String(index) }, attrs: { "aria-label": name } },
    make("header", {}, make("h3", {}, name), make("span", { className: "side-state" }, side.state === "running" ? t("duel.works", { n: shown.length }) : side.state === "idle" ? t("duel.waits") : "")),
    make("div", { className: "side-body" },
      make("div", { className: "plate side-plate" }, picture ? make("img", { src: picture.src, alt: sideAlt(side, at) }) : make("span", { className: "hint" }, t("duel.nothing"))),
      sideFacts(side, shown)),
    make("div", { className: "strip", attrs: { role: "group", "aria-label": t("timeline") } }, ...shown.map((step) => sideItem(side, step, step.id === at))),
    side.state === "done" && side.job && head ? make("button", { type: "button", className: "side-open", on: { click: () => attach(side.job) } }, t("duel.open")) : null);
  if (old) old.replaceWith(node);
  else $("sides").append(node);
  node.querySelector(".strip").scrollLeft = side.state === "running" ? 1e6 : left;
  if (held) node.querySelector(`[data-id="${held}"]`)?.focus({ preventScroll: true });
  while ($("sides").children.length > duel.sides.length) $("sides").lastChild.remove();
}

const sideCritiques = (side, id) => side.steps.find((step) => step?.kind === "critique" && step.of === id)?.critiques ?? [];
const sideAlt = (side, id) => (id === null ? t("frame.start") : `${t(`kind.${side.steps[id].kind}`)}, ${t("frame.n", { n: side.steps[id].frame })}`);

function sideItem(side, step, now) {
  const critiques = sideCritiques(side, step.id);
  const words = critiques.map((one) => `${t(`by.${one.by}`)}: ${t(one.ok ? "verdict.ok" : "verdict.no")} ${faultText(one)}`);
  return make("button", {
    type: "button", className: ["item", verdictClass(critiques)].filter(Boolean).join(" "), data: { id: step.id }, attrs: { "aria-label": [sideAlt(side, step.id), ...words].join(", "), "aria-pressed": String(now) },
    on: { click: () => { side.at = step.id; showSide(side, duel.sides.indexOf(side)); } },
  }, make("span", { className: "thumb" }, make("img", { src: side.pictures.get(step.image)?.src ?? "", alt: "" })), make("span", {}, step.kind === "revise" ? t("kind.revise") : String(step.frame)));
}

/** How this way ended: the program's verdict, the answer, and what it took. */
function sideFacts(side, shown) {
  const { head } = side;
  if (!head?.reason) return make("div", { className: "side-facts" });
  const verdict = head.score === null ? "none" : head.score.solved ? "ok" : "no";
  const answer = answerText(head);
  const redraws = shown.filter((step) => step.kind === "revise").length;
  const rows = [["duel.pictures", shown.length - redraws], ["duel.redraws", redraws], ["duel.seconds", t("fact.seconds", { s: head.seconds.toFixed(1) })]];
  return make("div", { className: "side-facts" },
    make("p", { className: `final ${verdict}` }, `${{ ok: "✓", no: "✗", none: "–" }[verdict]} ${t(`final.${verdict}`)}`),
    make("p", { className: "hint" }, head.reason === "satisfied" ? "" : t("progress.done", { reason: t(`reason.${head.reason}`) })),
    answer ? make("p", { className: "side-answer" }, answer) : null,
    make("dl", {}, ...rows.flatMap(([key, value]) => [make("dt", {}, t(key)), make("dd", {}, String(value))])));
}

function wireDuel() {
  $("duel-run").addEventListener("click", runDuel);
  $("duel-stop").addEventListener("click", stopDuel);
  $("to-duel").addEventListener("click", () => {
    $("duel").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    $("duel").focus({ preventScroll: true });
  });
}

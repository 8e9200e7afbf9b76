/* Compose: the words, clauses that become words, and the scene that the run starts from. */

const scene = { things: new Map(), pen: { shape: "circle", colour: "red", size: "large" }, cursor: [0, 0], reason: null, kept: null };
const SLOTS = 4;
const WORLD = DATA.tasks.compose ?? { shapes: [], colours: {}, sizes: [] };

function sceneProblem() {
  const words = $("words").value.trim();
  if (!words) throw new Refused(t("compose.none"));
  if (scene.reason) throw new Refused(scene.reason);
  return composed();
}

const composed = () => ({ task: "compose", words: $("words").value.trim(), scene: [...scene.things].map(([place, thing]) => [thing.colour, thing.shape, thing.size, place]) });

// ---- the words

const askWords = asker((answer) => {
  scene.reason = answer.ok ? null : answer.reason;
  if (answer.ok ? answer.problem.scene.length : /scene to change|change cannot be made/.test(answer.reason)) $("from").open = true;
  wordsWord(answer.ok ? t(answer.problem.scene.length ? "compose.good.edit" : "compose.good") : told(answer.reason), !answer.ok);
}, (words) => wordsWord(words, true));

function wordsWord(text, bad = false) {
  $("words-word").textContent = text;
  $("words-word").classList.toggle("bad", bad);
}

function wordsChanged() {
  scene.reason = null;
  if ($("words").value.trim()) return askWords(composed(), 300);
  return wordsWord(t("compose.none"));
}

function setWords(words) {
  $("words").value = words;
  wordsChanged();
}

function showExamples() {
  const items = Array.from({ length: 8 }, (_, index) => t(`compose.example.${index + 1}`));
  $("example-list").replaceChildren(...items.map((words) => make("button", { type: "button", className: "chip", on: { click: () => takeExample(words, items.indexOf(words)) } }, words)));
}

const EDITS = 5;  // the examples from this number on change a scene
const SAMPLE = [["red", "triangle", "large", "b2"], ["yellow", "star", "small", "d3"]];

/** An example that changes a scene brings one where there is none yet. */
function takeExample(words, index) {
  if (index >= EDITS && !scene.things.size) setScene(SAMPLE);
  setWords(words);
}

// ---- clauses: pick, and the words are written

const CLAUSE = { form: "have", number: "1", size: "", colour: "red", shape: "circle", relation: "", number2: "1", colour2: "blue", shape2: "square" };

const options = (name) => ({
  form: ["have", "no"], number: ["1", "2", "3", "4", "5", "6"], size: ["", ...WORLD.sizes], colour: ["", ...Object.keys(WORLD.colours)], shape: ["", ...WORLD.shapes],
  relation: ["", "left", "right", "above", "below"],
})[name.replace("2", "")];

const optionName = (name, value) => {
  const kind = name.replace("2", "");
  if (value === "") return t(kind === "relation" ? "clause.alone" : "clause.any");
  return kind === "number" ? t(`number.${value}`) : t(`${kind}.${value}`);
};

function showBuilder() {
  const shown = CLAUSE.form === "no" ? ["form", "colour", "shape"]
    : ["form", "number", "size", "colour", "shape", "relation", ...(CLAUSE.relation ? ["number2", "colour2", "shape2"] : [])];
  const held = document.activeElement?.dataset?.clause;
  $("builder").replaceChildren(...shown.map((name) => {
    const select = make("select", { data: { clause: name }, on: { change: (event) => { CLAUSE[name] = event.target.value; showBuilder(); } } },
      ...options(name).map((value) => make("option", { value }, optionName(name, value))));
    select.value = CLAUSE[name];
    return make("label", {}, make("span", {}, t(`clause.${name}`)), select);
  }), make("p", { className: "clause", id: "clause" }, clauseWords()), make("button", { type: "button", id: "add-clause", on: { click: addClause } }, t("clause.add")));
  if (held) $("builder").querySelector(`[data-clause="${held}"]`)?.focus();
}

/** A kind of thing in words, such as "two large red circles"; plain English where the page is English, plain Chinese where it is Chinese. */
function thingWords(number, size, colour, kind) {
  const many = Number(number) > 1;
  if (language === "zh") return `${number ? t(`count.${number}`) : ""}${size ? t(`size.${size}`) : ""}${colour ? `${t(`colour.${colour}`)}` : ""}${kind ? t(`shape.${kind}`) : t("clause.thing")}`;
  const noun = kind || "shape";
  return [number ? t(`count.${number}`) : "", size, colour, many ? t("clause.many", { noun: noun === "cross" ? "crosse" : noun }) : noun].filter(Boolean).join(" ");
}

function clauseWords() {
  const { form, number, size, colour, shape: kind, relation, number2, colour2, shape2 } = CLAUSE;
  if (form === "no") return colour && !kind ? t("clause.no", { thing: language === "zh" ? t(`colour.${colour}`) : colour }) : t("clause.no", { thing: thingWords("", "", colour, kind) + (language === "zh" ? "" : kind === "cross" ? "es" : "s") });
  const first = thingWords(number, size, colour, kind);
  return relation ? t(`clause.${relation}`, { first, second: thingWords(number2, "", colour2, shape2) }) : first;
}

function addClause() {
  const before = $("words").value.trim().replace(/[.,，。]$/, "");
  setWords(before ? t("clause.joined", { before, next: clauseWords() }) : clauseWords());
}

// ---- the scene to start from

function setScene(rows) {
  scene.things = new Map(rows.map(([colour, kind, size, place]) => [place, { colour, shape: kind, size }]));
  showScene();
  wordsChanged();
}

/** One shape in a square of side 1, as the pictures show it. */
function thingShape({ shape: kind, colour, size }) {
  const r = size === "small" ? .22 : .42;
  const fill = `rgb(${(WORLD.colours[colour] ?? [0, 0, 0]).join(",")})`;
  const ring = (count, inner) => Array.from({ length: count }, (_, at) => {
    const turn = 2 * Math.PI * at / count - Math.PI / 2;
    const far = r * (at % 2 ? inner : 1);
    return `${(.5 + far * Math.cos(turn)).toFixed(3)},${(.5 + far * Math.sin(turn)).toFixed(3)}`;
  }).join(" ");
  if (kind === "circle") return shape("circle", { cx: .5, cy: .5, r, fill });
  if (kind === "square") return shape("rect", { x: .5 - .9 * r, y: .5 - .9 * r, width: 1.8 * r, height: 1.8 * r, fill });
  if (kind === "cross") return shape("path", { d: `M${.5 - .34 * r} ${.5 - r}h${.68 * r}v${.66 * r}h${.66 * r}v${.68 * r}h${-.66 * r}v${.66 * r}h${-.68 * r}v${-.66 * r}h${-.66 * r}v${-.68 * r}h${.66 * r}z`, fill });
  const [count, inner] = { triangle: [3, 1], hexagon: [6, 1], star: [10, .42] }[kind] ?? [4, 1];
  return shape("polygon", { points: ring(count, inner), fill });
}

function drawing(thing) {
  const svg = shape("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" });
  if (thing) svg.append(thingShape(thing));
  return svg;
}

const thingName = (thing) => (thing ? [t(`size.${thing.size}`), t(`colour.${thing.colour}`), t(`shape.${thing.shape}`)].join(language === "zh" ? "" : " ") : t("compose.empty"));

function showScene() {
  const held = document.activeElement?.closest?.("#scene [role=gridcell]");
  $("scene").replaceChildren(...Array.from({ length: SLOTS }, (_, row) => make("div", { attrs: { role: "row" } }, ...Array.from({ length: SLOTS }, (_, col) => {
    const place = cellName(row, col);
    const thing = scene.things.get(place);
    const here = scene.cursor[0] === row && scene.cursor[1] === col;
    return make("button", {
      type: "button", data: { row, col, place }, attrs: { role: "gridcell", "aria-label": t("cell", { cell: place, tile: thingName(thing) }) }, tabIndex: here ? 0 : -1,
      on: { click: () => putThing(row, col) },
    }, drawing(thing));
  }))));
  if (held) $("scene").querySelector("[tabindex='0']")?.focus();
}

/** The pen's thing in a slot; the same thing once more takes it away. */
function putThing(row, col) {
  scene.cursor = [row, col];
  const place = cellName(row, col);
  const old = scene.things.get(place);
  if (scene.pen.shape === "" || (old && ["shape", "colour", "size"].every((name) => old[name] === scene.pen[name]))) scene.things.delete(place);
  else scene.things.set(place, { ...scene.pen });
  showScene();
  $("scene").querySelector("[tabindex='0']")?.focus();
  wordsChanged();
}

function sceneKey(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const erase = event.key === "Delete" || event.key === "Backspace";
  if (event.ctrlKey || event.metaKey || event.altKey || !(step || erase)) return;
  event.preventDefault();
  event.stopPropagation();
  const [row, col] = scene.cursor;
  if (erase) {
    scene.things.delete(cellName(row, col));
    wordsChanged();
  } else scene.cursor = [row + step[0], col + step[1]].map((at) => Math.max(0, Math.min(SLOTS - 1, at)));
  showScene();
}

function showPens() {
  const eraser = shape("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
  eraser.append(shape("path", { d: "M7 7l10 10M17 7L7 17", class: "line" }));
  const rows = {
    shape: [[...WORLD.shapes, ""], (value) => (value ? drawing({ ...scene.pen, shape: value, size: "large" }) : eraser)],
    colour: [Object.keys(WORLD.colours), (value) => make("i", { style: { background: `rgb(${WORLD.colours[value].join(",")})` } })],
    size: [WORLD.sizes, (value) => t(`size.${value}`)],
  };
  if (!$("scene-pens").children.length) $("scene-pens").append(...Object.keys(rows).map((name) => make("div", { className: "pen-row", data: { pens: name }, attrs: { role: "radiogroup" } })));
  for (const [name, [values, face]] of Object.entries(rows)) {
    const group = $("scene-pens").querySelector(`[data-pens=${name}]`);
    const had = group.contains(document.activeElement);
    group.setAttribute("aria-label", t(`clause.${name}`));
    group.replaceChildren(...values.map((value) => penButton(name, value, face(value))));
    if (had) group.querySelector("[aria-checked=true]")?.focus();
  }
}

function penButton(name, value, face) {
  const words = value ? t(`${name}.${value}`) : t("compose.eraser");
  const chosen = scene.pen[name] === value;
  return make("button", {
    type: "button", data: { pen: value }, title: words, attrs: { role: "radio", "aria-checked": String(chosen), tabindex: chosen ? "0" : "-1", "aria-label": words },
    on: { click: () => { scene.pen[name] = value; showPens(); } },
  }, face);
}

/** The last picture of the run that is shown, as the scene to start from. */
const keepScene = () => attempt(async () => {
  const last = view.path.findLast((step) => drawn(step) && (keptFor(step.id) || step.done));
  const picture = view.head?.task === "compose" && last ? view.pictures.get(last.image) : null;
  if (!picture) throw new Refused(t("compose.nokept"));
  setScene((await call("read_scene", picture.src)).scene);
});

const uploadScene = (file) => attempt(async () => {
  if (file.size > DATA.limits.upload_mb * 2 ** 20) throw new Refused(t("error.big", { mb: DATA.limits.upload_mb }));
  setScene((await call("read_scene", await asBase64(file))).scene);
});

function wireScene() {
  $("words").addEventListener("input", wordsChanged);
  $("words").addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); if (!$("run").disabled) startRun(); } });
  $("scene-blank").addEventListener("click", () => setScene([]));
  $("scene-kept").addEventListener("click", keepScene);
  $("scene-upload").addEventListener("click", () => $("scene-file").click());
  $("scene").addEventListener("keydown", sceneKey);
  onFile("scene-file", uploadScene);
}

/* Geometry: a question from a list, and its figure on squared paper, whose points are dragged or moved by keys. */

const figure = { problem: null, picture: "", reason: null, dragged: null, seed: 7 };
const LATTICE = [1, 7];
const SQUARE = 32;

function figureProblem() {
  if (!figure.problem) throw new Refused(t("figure.none"));
  if (figure.reason) throw new Refused(figure.reason);
  return figure.problem;
}

const kindTitle = (kind) => (known(`figure.kind.${kind}`) ? t(`figure.kind.${kind}`) : kind.replaceAll("_", " "));

function showKinds() {
  const kinds = DATA.tasks.geometry?.kinds ?? [];
  const chosen = $("figure-kind").value;
  $("figure-kind").replaceChildren(make("option", { value: "" }, t("figure.any")), ...kinds.map((kind) => make("option", { value: kind }, kindTitle(kind))));
  $("figure-kind").value = chosen;
}

const newFigure = () => attempt(async () => {
  const kind = $("figure-kind").value;
  const made = await call("new_problem", "geometry", figure.seed, kind);
  figure.seed += 1;
  takeFigure(made);
});

function takeFigure({ problem, asked, picture }) {
  Object.assign(figure, { problem, picture, reason: null });
  $("figure-asked").textContent = sentence(asked);
  figureWord("");
  showFigure();
}

function figureWord(text, bad = false) {
  $("figure-word").textContent = text;
  $("figure-word").classList.toggle("bad", bad);
}

const askFigure = asker((answer) => {
  figure.reason = answer.ok ? null : answer.reason;
  if (answer.ok) takeFigure(answer);
  else {
    figureWord(told(answer.reason), true);
    showFigure();
  }
}, (words) => figureWord(words, true));

/** The server draws the figure; over it lie the handles, and where it cannot be drawn as it stands, plain lines. */
function showFigure(focus = null) {
  const points = Object.entries(figure.problem?.points ?? {});
  if (figure.picture) $("paper-picture").src = figure.picture;
  $("paper-picture").alt = points.map(([name, [row, col]]) => t("figure.point", { name, place: cellName(row - 1, col - 1) })).join(", ");
  const stale = figure.reason !== null || figure.dragged !== null;
  $("paper").classList.toggle("stale", stale);
  const parts = points.map(([name, [row, col]]) => handle(name, row, col));
  if (stale) parts.unshift(shape("polygon", { points: points.map(([, [row, col]]) => `${col * SQUARE},${row * SQUARE}`).join(" "), class: "ghost" }));
  const held = focus ?? (document.activeElement?.closest?.("#handles [data-point]")?.dataset.point || null);
  $("handles").replaceChildren(...parts);
  if (held) $("handles").querySelector(`[data-point="${held}"]`)?.focus({ preventScroll: true });
}

function handle(name, row, col) {
  const group = shape("g", {
    "data-point": name, tabindex: "0", role: "button", "aria-roledescription": t("figure.handle"),
    "aria-label": t("figure.point", { name, place: cellName(row - 1, col - 1) }), class: figure.dragged === name ? "handle held" : "handle",
  });
  const [cx, cy] = [col * SQUARE, row * SQUARE];
  group.append(shape("circle", { cx, cy, r: 20, class: "reach" }), shape("circle", { cx, cy, r: 6.5, class: "knob" }));
  return group;
}

/** Move a point of the figure; two points never share a corner of the paper. */
function movePoint(name, row, col) {
  const [low, high] = LATTICE;
  const place = [row, col].map((at) => Math.max(low, Math.min(high, at)));
  const points = figure.problem.points;
  if (points[name].join() === place.join() || Object.values(points).some((other) => other.join() === place.join())) return;
  figure.problem = { ...figure.problem, points: { ...points, [name]: place } };
  figure.reason = null;
  showFigure(name);
  askFigure(figure.problem, figure.dragged ? 60 : 150);
}

function figurePointer(event) {
  if (event.type === "pointerdown") {
    const name = event.target.closest("[data-point]")?.dataset.point;
    if (!name || event.button !== 0) return;
    figure.dragged = name;
    $("handles").setPointerCapture(event.pointerId);
    showFigure(name);
  } else if (event.type === "pointermove" && figure.dragged) {
    const box = $("handles").getBoundingClientRect();
    movePoint(figure.dragged, Math.round((event.clientY - box.top) / box.height * 8), Math.round((event.clientX - box.left) / box.width * 8));
  } else if (event.type !== "pointermove" && figure.dragged) {
    figure.dragged = null;
    askFigure(figure.problem, 0);
    showFigure();
  } else return;
  event.preventDefault();
}

function figureKey(event) {
  const name = event.target.dataset?.point;
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!name || !step || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();
  const [row, col] = figure.problem.points[name];
  movePoint(name, row + step[0], col + step[1]);
}

function wireFigure() {
  $("new-figure").addEventListener("click", newFigure);
  $("figure-kind").addEventListener("change", newFigure);
  for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) $("handles").addEventListener(name, figurePointer);
  $("handles").addEventListener("keydown", figureKey);
}

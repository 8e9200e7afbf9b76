/* The words beside the picture: the thought, the two verdicts, the answer. */

/** A thought as text in which every cell's name is a button that shows the cell. */
function thoughtNodes(text) {
  return sentence(text).split(/\b([a-p]\d{1,2})\b/).map((piece, index) => (index % 2 === 0 ? piece : make("button", {
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
  $("step-kind").textContent = item ? kindName(item.kind) : "";
  $("step-facts").textContent = item ? factsOf(item).join(" · ") : "";
  const thought = item ? thoughtOf(item, view.at) : null;
  const text = thought?.thought ?? "";
  $("loop").hidden = Boolean(item?.frame);
  $("thought-title").hidden = !item?.frame;
  $("thought-title").textContent = t(item?.kind === "answer" ? "answers" : "thinks");
  $("thought").replaceChildren(...(item?.frame ? thoughtNodes(text) : [t(`${item ? "before" : "empty"}.${shownTask()}`)]));
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
  $("verdicts").replaceChildren(...["model", "program", ...others].map((by) => verdictCard(by, critiques)));
  showAgreement($("agreement"), critiques);
  const said = critiques.find((critique) => critique.by === "model")?.words ?? "";
  $("said").hidden = said.split(" . ").length < 3; // a bare verdict is on its card
  $("said-words").replaceChildren(...($("said").hidden ? [] : thoughtNodes(said)));
}

/** What one judge says of a picture. */
function verdictCard(by, critiques) {
  const critique = critiques.find((one) => one.by === by);
  const name = known(`by.${by}`) ? t(`by.${by}`) : by;
  if (!critique) return make("div", { className: "verdict none", data: { by } }, make("header", {}, make("span", {}, name)), t("verdict.none"));
  const sure = by === "program" ? t("verdict.exact") : by === "visitor" ? "" : t("verdict.sure", { percent: Math.round(critique.confidence * 100) });
  return make("div", { className: `verdict ${critique.ok ? "ok" : "no"}`, data: { by } },
    make("header", {}, make("span", {}, name), make("span", {}, sure)),
    make("strong", {}, `${critique.ok ? "✓" : "✗"} ${t(critique.ok ? "verdict.ok" : "verdict.no")}`), critique.ok ? "" : faultText(critique),
    critique.overruled ? make("small", {}, t(`verdict.${critique.overruled}`)) : "",
    doubtsText(critique));
}

/** How much of the picture the model doubts, apart from what it says: the squares that are shaded. */
function doubtsText({ doubts }) {
  const most = Math.round(100 * Math.max(0, ...doubts.heat));
  return most < 10 ? "" : make("small", { className: "doubts" }, t("verdict.shaded", { percent: most }));
}

function showAgreement(node, critiques) {
  const [one, two] = ["model", "program"].map((by) => critiques.find((critique) => critique.by === by));
  const key = !one || !two ? "" : one.ok !== two.ok ? "agree.split" : one.ok ? "agree.ok" : one.fault === two.fault && one.where === two.where ? "agree.no" : "agree.fault";
  node.textContent = key ? t(key) : "";
  node.classList.toggle("split", key === "agree.split");
}

function showAnswer() {
  const head = view.head;
  const latest = view.path.at(-1)?.id === view.steps.length - 1;
  const shown = Boolean(head?.reason) && latest && (head.answer !== "" || head.score !== null) && view.at >= view.path.length - 1;
  $("answer").hidden = !shown;
  if (!shown) return;
  $("answer-moves").textContent = answerText(head);
  $("answer-moves").hidden = !$("answer-moves").textContent;
  const verdict = head.score === null ? "none" : head.score.solved ? "ok" : "no";
  $("answer-verdict").className = `final ${verdict}`;
  $("answer-verdict").textContent = `${{ ok: "✓", no: "✗", none: "–" }[verdict]} ${t(`final.${verdict}`)}`;
  $("answer-why").textContent = head.score ? scoreWords(head) : "";
}

/** The moves or the value that was answered; where nobody can read them in it, the answer as it was said. */
function answerText({ moves, answer }) {
  return moves.length ? moves.map((move) => (known(`move.${move}`) ? t(`move.${move}`) : move)).join(" · ") : sentence(answer);
}

/** Why the program's score is what it is. */
function scoreWords({ task, score }) {
  if (task === "maze") return [t("final.why", { legal: score.legal_frames, frames: score.frames }), t(score.moves_right ? "final.moves" : "final.nomoves")].join(" ");
  const drawnWell = typeof score.drawn === "boolean" ? t(`final.${task}.${score.drawn ? "drawn" : "notdrawn"}`) : "";
  const answered = typeof score.answer_right === "boolean" ? t(score.answer_right ? "final.answer" : "final.noanswer") : "";
  return [drawnWell, answered].filter(Boolean).join(" ");
}

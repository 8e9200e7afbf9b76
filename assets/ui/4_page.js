/* The page as a whole: starting and following runs, keeping and opening them, keys, languages, light and dark. */

const run = { job: null, turn: 0, state: "idle", starting: false, ready: true, model: null };
const isRunning = () => run.state === "running";

function setState(state) {
  run.state = state;
  const focus = [$("run"), $("stop")].includes(document.activeElement);
  $("run").disabled = state === "running";
  $("stop").disabled = state !== "running";
  if (focus) $(state === "running" ? "stop" : "run").focus();
  for (const id of ["save-json", "save-gif", "save-png"]) $(id).disabled = !view.source || state === "running";
  $("bar").classList.toggle("wait", state === "running" && (run.starting || !view.steps.length));
  showProgress();
  showBranch(view.path[view.at]);
  showBreak(view.path[view.at]);
}

function showProgress(key = null, values = {}) {
  const { head, path } = view;
  const at = run.starting ? 0 : Math.max(0, path.length - 1);
  const redraws = path.filter((step) => step.kind === "revise").length;
  const all = Math.max(at, 3 * (head?.total ?? 0) + 2 + 2 * redraws);
  let text = "";
  if (key) text = t(key, values);
  else if (run.state === "running") text = at ? t("progress.step", { at, all, doing: t(`doing.${path[at].kind}`) }) : waiting();
  else if (head?.reason) text = [t("progress.done", { reason: t(`reason.${head.reason}`) }), head.reason === "failed" ? told(head.words) : ""].filter(Boolean).join(". ");
  if ($("progress").textContent !== text) $("progress").textContent = text;
  const share = run.state !== "running" ? (head?.reason ? 100 : 0) : at ? 100 * at / all : 0;
  $("bar").firstElementChild.style.width = run.state === "running" && !at ? "" : `${share}%`;
}

function waiting() {
  if (run.ready !== false || run.starting) return t("progress.start");
  return run.model && run.model !== models.rows[0]?.name ? t("progress.loading", { name: run.model }) : t("progress.model");
}

// ---- runs

function startRun() {
  return attempt(async () => {
    await begin("start", problemNow(), settings, models.chosen, "draw");
  });
}

/** Ask for a run; what is shown stays until the run is there, and where it is refused nothing is lost. */
async function begin(name, ...args) {
  pause();
  const before = run.state;
  run.turn += 1;  // what was asked for earlier, such as a recorded run, comes too late now
  run.starting = true;
  setState("running");
  try {
    attach((await call(name, ...args)).job);
  } catch (error) {
    run.starting = false;
    setState(before);
    throw error;
  }
}

function beginView() {
  run.turn += 1;
  run.job = null;
  run.starting = false;
  clearView("run");
  view.follow = true;
  view.mode = "after";
  showAll();
  setState("running");
}

function attach(job) {
  beginView();
  run.job = job;
  view.source = job;
  setHash(job);
  try { sessionStorage.setItem("think.run", job); } catch { /* the address holds it too */ }
  follow(job, run.turn);
}

/** Follow a run to its end through any number of lost connections: what is here already is not asked for again. */
async function follow(job, turn) {
  for (let tries = 0; turn === run.turn; tries += 1) {
    try {
      for await (const patch of stream("follow", [job, view.steps.filter((step) => step?.done).length])) {
        if (turn !== run.turn) return;
        tries = 0;
        [run.ready, run.model] = [patch.ready, patch.model];
        takePatch(patch);
        setState(patch.running ? "running" : "done");
        showAll();
        if (!patch.running) return patch.words ? notice(told(patch.words)) : undefined;
      }
    } catch (error) {
      if (turn !== run.turn) return;
      if (error instanceof Refused) {
        forgetRun();
        setState("idle");
        if (!view.head) await openRecorded(DATA.recorded[0]?.name);
        notice(told(error.message));
        return;
      }
    }
    showProgress("progress.again");
    await new Promise((resume) => setTimeout(resume, Math.min(4000, 250 * 2 ** tries)));
  }
}

function forgetRun() {
  try { sessionStorage.removeItem("think.run"); } catch { /* nothing was remembered */ }
  if (new URLSearchParams(location.hash.slice(1)).has("run")) setHash(null);
}

const stopRun = () => attempt(() => (run.job ? call("stop", run.job) : null));

function branchRun() {
  return attempt(async () => {
    if (isRunning()) throw new Refused(t("error.running"));
    const item = view.path[view.at];
    if (!item || item.id === null || !view.source) throw new Refused(t("branch.none"));
    const step = thoughtOf(item, view.at);
    const edited = step?.kind === "think" && $("branch-thought").value.trim() !== step.thought.trim();
    const target = edited ? step : item;
    const seed = $("branch-seed").value === "" ? null : Number($("branch-seed").value);
    await begin("branch", view.source, target.id, edited ? $("branch-thought").value : null, seed, ...settingsList().slice(0, 4), models.chosen);
  });
}

// ---- keeping and opening

async function show(patch, origin, source) {
  run.turn += 1;
  run.job = null;
  forgetRun();
  clearView(origin, source);
  takePatch(patch);
  setState("done");
  showAll();
}

const openRecorded = (name, playIt = false) => attempt(async () => {
  if (!name) return;
  const turn = run.turn;
  const patch = await call("open_trace", `recorded:${name}`);
  if (turn !== run.turn) return;
  await show(patch, "recorded", `recorded:${name}`);
  if (playIt && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
});

const openFile = (file) => attempt(async () => {
  if (isRunning()) throw new Refused(t("error.running"));
  if (file.size > DATA.limits.trace_mb * 2 ** 20) throw new Refused(t("error.big", { mb: DATA.limits.trace_mb }));
  const text = await file.text();
  await show(await call("open_trace", text), "file", text);
});

const save = (kind) => attempt(async () => {
  if (!view.source) throw new Refused(t("error.norun"));
  const file = await call("export", view.source, kind, onOwn());
  const bytes = Uint8Array.from(atob(file.base64), (letter) => letter.charCodeAt(0));
  download(file.name, new Blob([bytes], { type: file.mime }));
});

function showRecorded() {
  $("recorded").replaceChildren(...(DATA.recorded.length ? [make("span", { className: "hint" }, t("keep.recorded"))] : []), ...DATA.recorded.map((item) => make("button", {
    type: "button", data: { recorded: item.name }, on: { click: () => (isRunning() ? notice(t("error.running")) : openRecorded(item.name, true)) },
  }, t(item.task === "maze" ? "keep.recorded.item" : "keep.recorded.other", { ...item, task: t(`task.${item.task}`) }))));
}

// ---- language, light and dark

function setLanguage(code) {
  language = code;
  memory.set("language", code);
  labelAll();
  showBrushes();
  showSettings();
  for (const option of [...$("style").options]) option.textContent = t(`style.${option.value}`);
  showRecorded();
  showTasks();
  showKinds();
  showFigure();
  showExamples();
  showBuilder();
  showScene();
  showPens();
  if (tasks.chosen === "compose") wordsChanged();
  showModels();
  showDuel();
  if (maker.rows.length) {
    maker.rows.forEach((row, r) => [...row].forEach((_, c) => showTile(r, c)));
    boardChanged();
  }
  quiet();
  showAll();
  showProgress();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.body.classList.toggle("dark", theme === "dark");
}

function toggleTheme() {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  memory.set("theme", next);
  setTheme(next);
}

// ---- wiring

const onFile = (id, take) => $(id).addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) take(file).finally(() => { event.target.value = ""; });
});

function wire() {
  const clicks = {
    run: startRun, stop: stopRun, "new-maze": nextMaze, clear: clearBoard, upload: () => $("picture-file").click(), share, theme: toggleTheme,
    "notice-close": quiet, "lang-en": () => setLanguage("en"), "lang-zh": () => setLanguage("zh"), first: () => goTo(0), back: () => goTo(view.at - 1),
    next: () => goTo(view.at + 1), last: () => goTo(view.path.length - 1), play: () => (view.playing ? pause() : play()), "branch-go": branchRun,
    "save-json": () => save("json"), "save-gif": () => save("gif"), "save-png": () => save("png"), "open-trace": () => $("trace-file").click(),
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
  for (const button of $("compare").children) button.addEventListener("click", () => setMode(button.dataset.mode));
  $("own").addEventListener("click", () => setOwn(!view.own));
  $("scrub").addEventListener("input", (event) => goTo(Number(event.target.value)));
  $("wipe").addEventListener("input", showWipe);
  for (const id of ["size", "style"]) $(id).addEventListener("change", newMaze);
  $("maze-seed").addEventListener("change", newMaze);
  $("editor").addEventListener("keydown", editorKey);
  for (const name of ["pointerdown", "pointermove"]) $("editor").addEventListener(name, editorPointer);
  addEventListener("pointerup", () => { maker.painting = false; });
  wireFigure();
  wireScene();
  wireBreak();
  wireDuel();
  onFile("picture-file", readPicture);
  onFile("trace-file", openFile);
  addEventListener("keydown", radioKey);
  addEventListener("keydown", pageKey);
  addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b" && view.mode === "before") setMode("after"); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => { if (!memory.get("theme")) setTheme(event.matches ? "dark" : "light"); });
}

function open() {
  for (const n of DATA.limits.sizes) $("size").append(make("option", { value: String(n) }, `${n} × ${n}`));
  for (const style of DATA.styles) $("style").append(make("option", { value: style }, t(`style.${style}`)));
  setTheme(memory.get("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  $("size").value = String(DATA.board.length);
  $("maze-seed").value = "7";
  setLanguage(memory.get("language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"));
  wire();
  setBoard(DATA.board);
  fetchModels();
  call("status").then((status) => { if (status.error) notice(told(status.error), true); }).catch(() => {});
  addEventListener("hashchange", arrive);
  if (!arrive()) {
    const job = memory.get("run", sessionStorage);
    if (job) attach(job);
    else {
      setState("idle");
      openRecorded((DATA.recorded.find((item) => item.task === tasks.chosen) ?? DATA.recorded[0])?.name, true);
    }
  }
}

/** What the address asks for: a task, a shared problem of it, or a run to attach to. */
function arrive() {
  const query = new URLSearchParams(location.hash.slice(1));
  const rows = readLink();
  const shared = readProblem(query.get("problem"));
  pickTask(rows ? "maze" : shared?.task ?? query.get("task") ?? tasks.chosen, false);
  if (rows || shared) showSettings();
  if (rows) setBoard(rows, t("share.loaded"));
  if (shared?.task === "geometry") Object.assign(figure, { problem: shared, picture: "" }) && askFigure(shared, 0);
  if (shared?.task === "compose") {
    $("words").value = String(shared.words ?? "");
    setScene(shared.scene ?? []);
  }
  const job = query.get("run");
  if (job && job !== run.job) attach(job);
  return Boolean(job);
}

/* The markup arrives with Gradio's page; whichever of the two is first waits for the other. */
window.thinkPage = () => { if ($("page") && !$("page").dataset.open) { $("page").dataset.open = "yes"; open(); } };
window.thinkPage();

/* Which task: its panel on the left, its problem for a run, its place in the address. */

const tasks = { chosen: "maze", asked: 0 };
const taskNames = () => Object.keys(DATA.tasks);

/** What a panel gives: the problem as plain data; it throws Refused where there is none to run. */
const PROBLEMS = { maze: mazeProblem, geometry: figureProblem, compose: sceneProblem };
const problemNow = () => PROBLEMS[tasks.chosen]();

function mazeProblem() {
  if (maker.reason) throw new Refused(maker.reason);
  const picture = ownPicture();
  return { task: "maze", rows: maker.rows, ...(picture ? { picture } : {}) };
}

function pickTask(name, byHand = true) {
  if (!(name in DATA.tasks)) return;
  const changed = tasks.chosen !== name;
  tasks.chosen = name;
  if (changed && !modelRow()?.plain && !modelRow()?.taught.includes(name)) models.chosen = "";
  showTasks();
  if (name === "geometry" && !figure.problem) newFigure();
  if (name === "compose") setWords($("words").value || t("compose.example.1"));
  if (changed && byHand) {
    memory.set("task", name);
    setHash();
    const recorded = DATA.recorded.find((item) => item.task === name);
    if (!isRunning() && view.origin !== "run" && recorded) openRecorded(recorded.name);
  }
  showModels();
  showDuel();
}

function showTasks() {
  const names = taskNames();
  $("tasks").hidden = names.length < 2;
  $("tasks").replaceChildren(...names.map((name) => make("button", {
    type: "button", data: { task: name }, attrs: { role: "radio", "aria-checked": String(name === tasks.chosen), tabindex: name === tasks.chosen ? "0" : "-1" },
    on: { click: () => { pickTask(name); $("tasks").querySelector("[aria-checked=true]").focus(); } },
  }, t(`task.${name}`))));
  $("maker-title").textContent = t(`${tasks.chosen}.title`);
  for (const name of ["maze", "geometry", "compose"]) $(`panel-${name}`).hidden = name !== tasks.chosen;
}

/** The address tells the task and the run that is shown; a shared problem in it has been taken over by then. */
function setHash(job = run.job) {
  const query = new URLSearchParams({ ...(tasks.chosen === "maze" ? {} : { task: tasks.chosen }), ...(job ? { run: job } : {}) });
  history.replaceState(null, "", `${location.pathname}${location.search}${query.size ? `#${query}` : ""}`);
}

// ---- words that depend on the task of what is shown

const shownTask = () => view.head?.task ?? tasks.chosen;
const kindName = (kind) => (kind === "start" ? t(`kind.start.${shownTask()}`) : t(`kind.${kind}`));

/** The model's language sets points and Chinese signs apart; readers do not. */
const sentence = (words) => words.replace(/ ([.,:?])/g, "$1").replace(/([\u3000-\u9fff\uff00-\uffef]) +(?=[\u3000-\u9fff\uff00-\uffef])/g, "$1");

// ---- asking the server about a problem, at most once a moment; an older answer never overtakes a newer one

function asker(take, fail) {
  let asked = 0;
  return async (problem, pause = 150) => {
    const number = ++asked;
    await new Promise((resume) => setTimeout(resume, pause));
    if (number !== asked) return;
    try {
      const answer = await call("check_problem", problem);
      if (number === asked) take(answer, problem);
    } catch (error) {
      if (number === asked) fail(error instanceof Refused ? told(error.message) : t("error.net"));
    }
  };
}

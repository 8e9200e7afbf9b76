/* Which model runs: the embedded one, or another that is here; what is not here says why, and how to get it. */

const models = { rows: [], chosen: "" };

/** What runs where nobody chose: the first model here that was taught the task. */
const usualRow = () => models.rows.find((row) => row.available && row.taught.includes(tasks.chosen)) ?? models.rows[0];
const modelRow = () => models.rows.find((row) => row.name === models.chosen) ?? usualRow();

async function fetchModels() {
  try {
    models.rows = await call("models");
  } catch { /* the embedded one runs without a list */ }
  showModels();
}

function pickModel(row, focus = false) {
  if (!row.available) return;
  models.chosen = row === usualRow() ? "" : row.name;
  showModels();
  if (focus) $("model-list").querySelector("[aria-checked=true]")?.focus();
}

function showModels() {
  const current = modelRow();
  $("models").hidden = models.rows.length === 0;
  if (!current) return;
  $("models-title").textContent = t("models.title", { name: current.name });
  $("model-list").replaceChildren(...models.rows.map((row) => modelItem(row, row === current)));
  const words = [current.edit ? null : t("models.redraws"), current.taught.includes(tasks.chosen) ? null : t(current.plain ? "models.plain" : "models.cannot")].filter(Boolean);
  $("model-word").textContent = words.join(" ");
  $("model-word").hidden = words.length === 0;
  showDuel();
}

function modelItem(row, chosen) {
  const gb = row.memory_gb.bf16 ?? Object.values(row.memory_gb)[0];
  const state = !row.available ? told(row.reason) : row.embedded ? t("models.here") : t("models.load", { gb });
  const button = make("button", {
    type: "button", className: "model", data: { model: row.name }, disabled: !row.available,
    attrs: { role: "radio", "aria-checked": String(chosen), tabindex: chosen ? "0" : "-1" }, on: { click: () => pickModel(row, true) },
  }, make("b", {}, row.name), make("span", {}, [row.embedded ? t("models.embedded") : null, state, row.available ? null : `${gb} GB`].filter(Boolean).join(" · ")));
  const get = row.command ? make("p", { className: "get" }, `${t("models.get")} `, make("code", {}, row.command)) : null;
  return make("div", { className: row.available ? "" : "absent" }, button, get);
}

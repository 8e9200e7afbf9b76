/* Left side: the board to solve (painted by mouse, finger or keys), the settings of a run, the link that holds both. */

const TILES = { "#": "wall", ".": "floor", S: "start", G: "goal" };
const KEYS = { w: "#", f: ".", s: "S", g: "G" };
const maker = { rows: [], brush: "#", cursor: [0, 0], painting: false, asked: 0, reason: null, said: null, own: null };
const settings = Object.fromEntries(Object.entries(DATA.settings).map(([name, row]) => [name, row.default]));

const tileAt = (row, col) => maker.rows[row][col];

function showBrushes() {
  $("brushes").replaceChildren(...Object.entries(TILES).map(([tile, name]) => make("button", {
    type: "button", data: { tile },
    attrs: { role: "radio", "aria-checked": String(tile === maker.brush), tabindex: tile === maker.brush ? "0" : "-1" },
    on: { click: () => pickBrush(tile) },
  }, make("i", { className: `tile-${name}` }), t(`tile.${name}`))));
}

function pickBrush(tile, focus = false) {
  maker.brush = tile;
  showBrushes();
  if (focus) $("brushes").querySelector("[aria-checked=true]").focus();
}

/** Draw the whole board anew; single cells change in place by `setTile`. */
function showEditor() {
  const n = maker.rows.length;
  maker.cursor = maker.cursor.map((place) => Math.min(place, n - 1));
  $("editor").style.gridTemplate = `repeat(${n}, 1fr) / repeat(${n}, 1fr)`;
  $("editor").replaceChildren(...maker.rows.map((row, r) => make("div", { attrs: { role: "row" } },
    ...[...row].map((_, c) => make("button", { type: "button", data: { row: r, col: c }, attrs: { role: "gridcell" } })))));
  maker.rows.forEach((row, r) => [...row].forEach((_, c) => showTile(r, c)));
}

const tileButton = (row, col) => $("editor").children[row].children[col];

function showTile(row, col) {
  const name = TILES[tileAt(row, col)];
  const button = tileButton(row, col);
  button.className = `tile-${name}`;
  button.tabIndex = row === maker.cursor[0] && col === maker.cursor[1] ? 0 : -1;
  button.setAttribute("aria-label", t("cell", { cell: cellName(row, col), tile: t(`tile.${name}`) }));
}

function setTile(row, col, tile) {
  if (tileAt(row, col) === tile) return;
  if (tile === "S" || tile === "G") {
    maker.rows.forEach((line, r) => [...line].forEach((old, c) => { if (old === tile) putTile(r, c, "."); }));
  }
  putTile(row, col, tile);
  boardChanged();
}

function putTile(row, col, tile) {
  const line = [...maker.rows[row]];
  line[col] = tile;
  maker.rows[row] = line.join("");
  showTile(row, col);
}

function setBoard(rows, word = null) {
  maker.rows = [...rows];
  showEditor();
  if (!$("size").querySelector(`option[value="${rows.length}"]`)) return boardChanged();
  $("size").value = String(rows.length);
  return boardChanged(word);
}

/** Ask the program whether there is a way through; an older answer never overtakes a newer one. */
async function boardChanged(word = null) {
  const asked = ++maker.asked;
  maker.reason = null;
  if (!view.head) showStage(null);
  boardWord(t("maker.checking"));
  await new Promise((resume) => setTimeout(resume, 150));
  if (asked !== maker.asked) return;
  try {
    const answer = await call("check_maze", maker.rows);
    if (asked !== maker.asked) return;
    if (answer.ok && maker.said && $("notice-text").textContent === maker.said) quiet();
    maker.reason = answer.ok ? null : answer.reason;
    maker.said = answer.ok ? null : told(answer.reason);
    boardWord(answer.ok ? word ?? t("maker.good", { size: maker.rows.length }) : told(answer.reason), !answer.ok);
  } catch (error) {
    if (asked === maker.asked) boardWord(error instanceof Refused ? told(error.message) : t("error.net"), true);
  }
}

function boardWord(text, bad = false) {
  $("board-word").textContent = text;
  $("board-word").classList.toggle("bad", bad);
}

function moveCursor(row, col) {
  const n = maker.rows.length;
  const [oldRow, oldCol] = maker.cursor;
  maker.cursor = [Math.max(0, Math.min(n - 1, row)), Math.max(0, Math.min(n - 1, col))];
  showTile(oldRow, oldCol);
  showTile(...maker.cursor);
  tileButton(...maker.cursor).focus();
}

function editorKey(event) {
  const [row, col] = [Number(event.target.dataset.row), Number(event.target.dataset.col)];
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const tile = event.key === " " || event.key === "Enter" ? maker.brush : KEYS[event.key.toLowerCase()];
  if (event.ctrlKey || event.metaKey || event.altKey || !(step || tile)) return;
  event.preventDefault();
  event.stopPropagation();
  if (step) moveCursor(row + step[0], col + step[1]);
  else setTile(row, col, tile);
}

function editorPointer(event) {
  if (event.type === "pointerdown") maker.painting = event.button === 0;
  if (!maker.painting || event.buttons === 0) return;
  const cell = document.elementFromPoint(event.clientX, event.clientY)?.closest("#editor [role=gridcell]");
  if (!cell) return;
  event.preventDefault();
  const [row, col] = [Number(cell.dataset.row), Number(cell.dataset.col)];
  if (event.type === "pointerdown") moveCursor(row, col);
  setTile(row, col, maker.brush);
}

const newMaze = () => attempt(async () => {
  const asked = ++maker.asked;
  const board = await call("new_maze", Number($("size").value), Number($("maze-seed").value) || 0, $("style").value);
  if (asked === maker.asked) await setBoard(board.rows);
});

function nextMaze() {
  $("maze-seed").value = String((Number($("maze-seed").value) + 1) % 1_000_000 || 0);
  return newMaze();
}

function clearBoard() {
  const n = Number($("size").value);
  const rows = Array.from({ length: n }, () => ".".repeat(n));
  rows[0] = "S" + rows[0].slice(1);
  rows[n - 1] = rows[n - 1].slice(1) + "G";
  setBoard(rows);
}

const readPicture = (file) => attempt(async () => {
  if (file.size > DATA.limits.upload_mb * 2 ** 20) throw new Refused(t("error.big", { mb: DATA.limits.upload_mb }));
  const board = await call("read_picture", await asBase64(file));
  maker.own = board.picture ? { rows: board.rows.join(), picture: board.picture } : null;
  await setBoard(board.rows, t("maker.read", { size: board.rows.length }));
});

/** The picture that the visitor brought, as long as the board is still the one on it. */
const ownPicture = () => (maker.own?.rows === maker.rows.join() ? maker.own.picture : "");

async function asBase64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

// ---- settings

function showSettings() {
  const checked = (name, option) => ({ role: "radio", "aria-checked": String(settings[name] === option), tabindex: settings[name] === option ? "0" : "-1" });
  $("steer").replaceChildren(...DATA.settings.steer.options.map((option) => make("button", {
    type: "button", data: { steer: option }, attrs: checked("steer", option),
    on: { click: () => { settings.steer = option; showSettings(); $("steer").querySelector("[aria-checked=true]").focus(); } },
  }, t(`steer.${option}`))));
  $("steer-word").textContent = t(`steer.${settings.steer}.word`);
  $("sliders").replaceChildren(...Object.entries(DATA.settings).filter(([name]) => name !== "steer").map(([name, row]) => {
    const shown = make("output", {}, String(settings[name]));
    const number = name === "seed";
    const input = make("input", {
      type: number ? "number" : "range", id: `set-${name}`, min: row.low, max: row.high, step: row.step, value: settings[name],
      on: { input: (event) => { if (event.target.value !== "") settings[name] = Number(event.target.value); shown.textContent = settings[name]; } },
    });
    return make("label", { className: "slider" }, make("span", {}, t(`set.${name}`)), number ? null : shown, input);
  }));
}

const settingsList = () => ["steer", "rounds", "temperature", "guidance", "seed"].map((name) => settings[name]);

// ---- the link: board and settings in the address, nothing on the server

const CODES = { "#": "w", ".": "f", S: "s", G: "g" };
const DECODES = Object.fromEntries(Object.entries(CODES).map(([tile, code]) => [code, tile]));

function shareLink() {
  const maze = () => ({ maze: maker.rows.map((row) => [...row].map((tile) => CODES[tile]).join("")).join("-") });
  const shared = tasks.chosen === "maze" ? maze() : { problem: JSON.stringify(problemNow()) };
  return `${location.href.split("#")[0]}#${new URLSearchParams({ ...shared, ...settings })}`;
}

/** A problem of another task in a link, or null; the server looks at it before anything is run. */
function readProblem(text) {
  try {
    const problem = JSON.parse(text ?? "null");
    const points = Object.values(problem?.points ?? {});
    const fine = problem?.task in DATA.tasks && points.every((point) => Array.isArray(point) && point.length === 2 && point.every(Number.isInteger));
    if (!fine || !(problem.scene ?? []).every((row) => Array.isArray(row) && row.length === 4 && row.every((value) => typeof value === "string"))) return null;
    takeSettings(new URLSearchParams(location.hash.slice(1)));
    return problem;
  } catch { return null; }
}

/** The board of a link, or null; whatever is not a board of letters is ignored. */
function readLink() {
  const query = new URLSearchParams(location.hash.slice(1));
  const lines = (query.get("maze") ?? "").split("-");
  const n = lines.length;
  if (n < DATA.limits.sizes[0] || n > 16 || lines.some((line) => line.length !== n || /[^wfsg]/.test(line))) return null;
  takeSettings(query);
  return lines.map((line) => [...line].map((code) => DECODES[code]).join(""));
}

function takeSettings(query) {
  for (const [name, row] of Object.entries(DATA.settings)) {
    const given = query.get(name);
    if (given === null || given === "") continue;
    if (row.options ? row.options.includes(given) : Number(given) >= row.low && Number(given) <= row.high) settings[name] = row.options ? given : Number(given);
  }
}

const share = () => attempt(async () => {
  $("share-link").value = shareLink();
  $("share-link").hidden = false;
  try { await navigator.clipboard.writeText($("share-link").value); } catch { /* the field shows it */ }
  $("share-link").select();
  notice(t("share.done"), true);
});

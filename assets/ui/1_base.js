/* The page's scripts are joined in the order of their names into one module.
   Whatever comes from a model, a visitor or a file becomes text nodes and attributes here, never markup. */

const DATA = JSON.parse(document.getElementById("think-data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** One element: properties by name, `data`, `style` and `attrs` as objects, `on` as listeners, children as nodes or plain text. */
function make(tag, { data, attrs, style, on, ...props } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  Object.assign(node.dataset, data);
  for (const [name, value] of Object.entries(attrs ?? {})) node.setAttribute(name, value);
  for (const [name, value] of Object.entries(style ?? {})) node.style.setProperty(name, value);
  for (const [name, listener] of Object.entries(on ?? {})) node.addEventListener(name, listener);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function shape(tag, attrs) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attrs)) node.setAttribute(name, value);
  return node;
}

/** Storage may be refused (a page in a foreign frame): then nothing is remembered, and nothing breaks. */
const memory = {
  get(key, store = localStorage) { try { return store.getItem(`think.${key}`); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(`think.${key}`, value); } catch { /* not remembered */ } },
};

// ---- words

let language = "en";

/** The text of a key in the visitor's language; `{name}` places are filled from `values`. */
function t(key, values = {}) {
  const text = DATA.texts[language][key] ?? DATA.texts.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

const known = (key) => key in DATA.texts.en;

/** A sentence of the server in the visitor's language, where the table of messages knows it. */
function told(message) {
  for (const [pattern, translation] of language === "zh" ? DATA.messages : []) {
    const match = message.match(new RegExp(`^${pattern}$`, "s"));
    if (match) return translation.replace(/\{(\d)\}/g, (_, place) => match[Number(place)] ?? "");
  }
  return message;
}

function labelAll() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  for (const node of document.querySelectorAll("#page [data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("#page [data-label]")) {
    node.setAttribute("aria-label", t(node.dataset.label));
    if (node.matches("button")) node.title = t(node.dataset.label);
  }
  for (const code of ["en", "zh"]) $(`lang-${code}`).setAttribute("aria-pressed", String(code === language));
}

// ---- the server, through the same endpoints that every API client uses

/** The server understood the request and refused it; the message is for the visitor. */
class Refused extends Error {}

const HOME = new URL("gradio_api/call/", location.origin + location.pathname.replace(/[^/]*$/, ""));

const SILENCE = 45_000;  // the server gives a sign of life every 15 s; three missed ones are a dead connection

/** Everything an endpoint yields, in order. Throws Refused for a refusal, another error where the server is out of reach or silent. */
async function* stream(name, args) {
  const body = JSON.stringify({ data: args });
  const control = new AbortController();
  let alarm = 0;
  const heard = () => {
    clearTimeout(alarm);
    alarm = setTimeout(() => control.abort(new TypeError("silence")), SILENCE);
  };
  let reader = null;
  try {
    heard();
    const { signal } = control;
    const asked = await fetch(new URL(name, HOME), { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
    if (!asked.ok) throw asked.status === 503 ? new Refused((await asked.text()).slice(0, 200)) : new TypeError(`HTTP ${asked.status}`);
    const { event_id: id } = await asked.json();
    const answer = await fetch(new URL(`${name}/${id}`, HOME), { signal });
    if (!answer.ok) throw new TypeError(`HTTP ${answer.status}`);
    reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      heard();
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const [, event, data] = block.match(/^event: (\w+)\ndata: (.*)$/s) ?? [];
        if (event === "error") {
          const reason = JSON.parse(data)?.error;
          throw reason ? new Refused(reason) : new TypeError("error without a reason");
        }
        if (event === "generating" || event === "complete") {
          const parts = JSON.parse(data);
          if (parts?.length) yield parts[0];
        }
      }
    }
  } finally {
    clearTimeout(alarm);
    reader?.cancel().catch(() => {});
  }
}

async function call(name, ...args) {
  let last = null;
  for await (const value of stream(name, args)) last = value;
  return last;
}

// ---- notices

function notice(message, calm = false) {
  $("notice-text").textContent = message;
  $("notice").classList.toggle("calm", calm);
  $("notice").hidden = false;
  if ($("notice").getBoundingClientRect().top < 0) $("notice").scrollIntoView({ block: "nearest" });
}

const quiet = () => { $("notice").hidden = true; };

/** Run something for the visitor; whatever goes wrong is said, and the page stays as it was. */
async function attempt(work) {
  try {
    quiet();
    return await work();
  } catch (error) {
    notice(error instanceof Refused ? told(error.message) : t("error.net"));
    if (!(error instanceof Refused)) console.warn(error);
    return undefined;
  }
}

const cellName = (row, col) => String.fromCharCode(97 + col) + (row + 1);

function cellAt(name) {
  const match = /^([a-p])(\d{1,2})$/.exec(name ?? "");
  return match ? [Number(match[2]) - 1, match[1].charCodeAt(0) - 97] : null;
}

function download(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
